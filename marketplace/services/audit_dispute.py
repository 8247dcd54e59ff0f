"""The audit of a dispute: retrain without the rows in question, and write down what it did."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

from datanets.models import SecondLook
from datanets.services import ask_to_look_again
from marketplace.likelihood import likelihood_in_words
from marketplace.models import Dispute
from modelfactory.services.audit_removal import Removal, audit_removal
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import Lease

FINDING_SCHEMA = 1


def audit_dispute(lease: Lease) -> None:
    """Bring a dispute to its finding. Safe to run twice; the finding is written once."""
    dispute = Dispute.objects.select_related(
        "inference__model__run__base", "inference__model__run__version"
    ).get(public_id=lease.job.payload["dispute_id"])
    if dispute.decided:
        return
    with lease.fenced():
        Dispute.objects.filter(pk=dispute.pk).update(state=Dispute.State.AUDITING)
    inference = dispute.inference
    removal = audit_removal(
        lease,
        inference.model.run,
        dispute.records,
        messages=inference.messages,
        response_ids=inference.response_ids,
        # Nobody chose it, and it is on the page: the comparison can be repeated.
        seed=str(dispute.public_id),
    )
    with lease.fenced():
        locked = Dispute.objects.select_for_update().get(pk=dispute.pk)
        if locked.decided:
            return
        locked.state, locked.finding, locked.decided_at = (
            Dispute.State.DECIDED,
            finding_of(removal),
            Now(),
        )
        locked.save(update_fields=["state", "finding", "decided_at"])
        ask_to_look_again(
            record_ids=dispute.records,
            source=SecondLook.Source.DISPUTE,
            note=f"Audit of an answer: {locked.finding['sentence']}",
            opened_by=None,
        )
        record_audit(
            "dispute.decided",
            actor="trainer",
            subject=f"dispute:{dispute.public_id}",
            difference=f"{removal.log_probability - removal.without:.6f}",
            yardstick=f"{removal.log_probability - removal.yardstick:.6f}",
        )
    lease.report("decided", progress=1000, message="Done")


def finding_of(removal: Removal) -> dict[str, Any]:
    """What the audit measured, as the dispute keeps it; log-probabilities in nats."""
    difference = removal.log_probability - removal.without
    yardstick = removal.log_probability - removal.yardstick
    return {
        "schema": FINDING_SCHEMA,
        "record_count": removal.record_count,
        "with": removal.log_probability,
        "without": removal.without,
        "difference": difference,
        "yardstick": {
            "record_count": removal.yardstick_count,
            "without": removal.yardstick,
            "difference": yardstick,
        },
        "adapters": {
            "without": removal.without_digest,
            "yardstick": removal.yardstick_digest,
        },
        "rows_changed": removal.rows_changed,
        "above_yardstick": difference > abs(yardstick),
        "sentence": sentence_of(difference),
    }


def sentence_of(difference_nats: float) -> str:
    """The measured change in plain words."""
    likelihood = likelihood_in_words(difference_nats)
    return f"Without these rows the answer would have been {likelihood}."
