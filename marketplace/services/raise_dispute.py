"""Doubt the attribution of an answer: the dispute is written down and its audit queued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from datanets.models import Record, VersionRecord
from marketplace.models import Dispute, Inference
from marketplace.selectors import taught_records
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.jobs import start_job
from openledger_site.core.models import Job
from openledger_site.core.row_security import all_rows

AUDIT_JOB = "marketplace.audit"
RECORDS_MAX = 10
# An audit trains twice. More than this a day, by one person, would be a way to keep others waiting.
DISPUTES_PER_DAY_MAX = 5


class TooManyDisputes(DomainError):
    status = 429
    code = "too_many_disputes"
    message = (
        f"You raised {DISPUTES_PER_DAY_MAX} disputes within a day. Each one retrains a model "
        "twice; raise the next one tomorrow."
    )


class AlreadyDisputed(Conflict):
    code = "already_disputed"
    message = "You have an open dispute about this answer. Wait for its audit."


class RowsNotDisputable(DomainError):
    code = "rows_not_disputable"
    message = "Choose rows of your own that this model learnt and that are not withdrawn."


class AnswerErased(Conflict):
    code = "answer_erased"
    message = (
        "Whoever asked has erased this answer, so no audit can measure it any more. What it paid"
        " you stays."
    )


class AuditStillGoing(Conflict):
    code = "audit_still_going"
    message = "The audit of this dispute is still going, or has its finding already."


def raise_dispute(
    *, inference: Inference, raised_by: User, records: Sequence[str], reason: str
) -> Dispute:
    """Open a dispute about a settled answer; `records` are public ids of the raiser's own rows.

    Raises `AnswerErased`, `RowsNotDisputable`, `TooManyDisputes`, `AlreadyDisputed`.
    """
    chosen = sorted(set(records))
    _check_records(inference, raised_by, chosen)
    with transaction.atomic():
        # One person's disputes are counted one at a time.
        User.objects.select_for_update(no_key=True).get(pk=raised_by.pk)
        _check_rate(raised_by)
        _check_text_is_there(inference)
        try:
            with transaction.atomic():
                dispute = Dispute.objects.create(
                    inference=inference, raised_by=raised_by, records=chosen, reason=reason
                )
        except IntegrityError as problem:
            raise AlreadyDisputed() from problem
        _queue(dispute)
        record_audit(
            "dispute.raised",
            actor=raised_by,
            subject=f"answer:{inference.public_id}",
            dispute=str(dispute.public_id),
            records=chosen,
        )
    return dispute


def audit_again(*, dispute: Dispute, actor: User) -> Job:
    """Queue the audit of a dispute again, once its last one failed or was stopped.

    Raises `AuditStillGoing`, `AnswerErased`, `TooManyDisputes`.
    """
    with transaction.atomic():
        locked = Dispute.objects.select_for_update(of=("self",)).select_related("job", "raised_by")
        dispute = locked.get(pk=dispute.pk)
        if not dispute.stranded:
            raise AuditStillGoing()
        _check_text_is_there(dispute.inference)
        _check_again(dispute)
        job = _queue(dispute)
        record_audit("dispute.audit_again", actor=actor, subject=f"dispute:{dispute.public_id}")
    return job


def _check_text_is_there(inference: Inference) -> None:
    """And that it stays: an erasure waits for this transaction, and then for the audit."""
    if Inference.objects.select_for_update(no_key=True).get(pk=inference.pk).erased:
        raise AnswerErased()


@all_rows("whether any row is left to learn from, whosever it is")
def _check_records(inference: Inference, person: User, chosen: Sequence[str]) -> None:
    if not 1 <= len(chosen) <= RECORDS_MAX:
        raise RowsNotDisputable(
            f"Choose 1 to {RECORDS_MAX} rows.", where="records", limit=RECORDS_MAX
        )
    if taught_records(person, inference).filter(public_id__in=chosen).count() != len(chosen):
        raise RowsNotDisputable(where="records")
    if not _learnt_by(inference).exclude(record__public_id__in=chosen).exists():
        raise RowsNotDisputable(
            "These are all the rows that this model learnt: without them there is nothing to "
            "retrain. Choose fewer.",
            where="records",
        )


def _learnt_by(inference: Inference) -> QuerySet[VersionRecord]:
    learnt = VersionRecord.objects.filter(
        version_id=inference.model.run.version_id, split=VersionRecord.Split.TRAIN
    )
    return learnt.exclude(record__state=Record.State.WITHDRAWN)


def _check_rate(person: User) -> None:
    today = Dispute.objects.filter(raised_by=person, created_at__gt=Now() - timedelta(days=1))
    if today.count() >= DISPUTES_PER_DAY_MAX:
        raise TooManyDisputes(limit=DISPUTES_PER_DAY_MAX)


def _check_again(dispute: Dispute) -> None:
    """Audits tried again count as well: they cost as much."""
    subject = f"dispute:{dispute.public_id}"
    tried = Job.objects.filter(
        kind=AUDIT_JOB, subject=subject, created_at__gt=Now() - timedelta(days=1)
    )
    if tried.count() >= DISPUTES_PER_DAY_MAX:
        raise TooManyDisputes(limit=DISPUTES_PER_DAY_MAX)


def _queue(dispute: Dispute) -> Job:
    dispute.job = start_job(
        AUDIT_JOB,
        queue="ml",
        subject=f"dispute:{dispute.public_id}",
        owner=dispute.raised_by,
        payload={"dispute_id": str(dispute.public_id)},
    )
    dispute.save(update_fields=["job"])
    return dispute.job
