"""Decide rows, one or many at once; a press can be undone until a version holds the row."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from datanets.models import Contribution, Datanet, Record, Review
from datanets.services.errors import AlreadyDecided, OwnRows
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError

STATE_AFTER = {
    Review.Verdict.APPROVE: Record.State.APPROVED,
    Review.Verdict.REJECT: Record.State.REJECTED,
    Review.Verdict.UNDO: Record.State.PENDING,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One press: its batch undoes it."""

    batch: uuid.UUID
    count: int


def review_record(*, record: Record, reviewer: User, verdict: str, reason: str = "") -> Decision:
    """Approve or reject one pending row. Raises `OwnRows` (403) and `AlreadyDecided` (409)."""
    if record.contribution.contributor_id == reviewer.pk:
        raise OwnRows
    decision = review_all(
        records=Record.objects.filter(pk=record.pk),
        datanet=record.datanet,
        reviewer=reviewer,
        verdict=verdict,
        reason=reason,
    )
    if not decision.count:
        raise AlreadyDecided
    return decision


def review_all(
    *,
    records: QuerySet[Record],
    datanet: Datanet,
    reviewer: User,
    verdict: str,
    reason: str = "",
) -> Decision:
    """Approve or reject every pending row in `records` that is not the reviewer's own."""
    if verdict not in (Review.Verdict.APPROVE, Review.Verdict.REJECT):
        raise DomainError("A verdict is approve or reject.", where="verdict")
    if verdict == Review.Verdict.REJECT and reason not in Review.Reason:
        raise DomainError("Say why: choose a reason from the list.", where="reason")
    why = reason if verdict == Review.Verdict.REJECT else ""
    with transaction.atomic():
        rows = list(
            Record.objects.select_for_update(of=("self",))
            .filter(pk__in=records.values("pk"), datanet=datanet, state=Record.State.PENDING)
            .exclude(contribution__contributor=reviewer)
            .order_by("pk")
            .only("pk", "contribution_id")
        )
        return _decide(rows, datanet, reviewer, Review.Verdict(verdict), why)


def undo_review(*, datanet: Datanet, reviewer: User, batch: uuid.UUID) -> Decision:
    """Put the rows of one's own press back in the queue. Raises Conflict: decided anew or cut."""
    with transaction.atomic():
        newer = Review.objects.filter(record=OuterRef("pk")).order_by("-pk").values("batch")[:1]
        rows = list(
            Record.objects.select_for_update(of=("self",))
            .filter(
                datanet=datanet,
                reviews__batch=batch,
                reviews__reviewer=reviewer,
                state__in=[Record.State.APPROVED, Record.State.REJECTED],
                version_entries=None,
            )
            .annotate(last_batch=newer)
            .filter(last_batch=batch)
            .order_by("pk")
        )
        if not rows:
            raise Conflict(
                "Nothing to undo: a version holds these rows, or they were decided anew."
            )
        return _decide(rows, datanet, reviewer, Review.Verdict.UNDO, "")


def _decide(
    rows: Sequence[Record], datanet: Datanet, reviewer: User, verdict: Review.Verdict, reason: str
) -> Decision:
    batch = uuid.uuid4()
    Review.objects.bulk_create(
        [
            Review(record=row, reviewer=reviewer, batch=batch, verdict=verdict, reason=reason)
            for row in rows
        ],
        batch_size=1_000,
    )
    Record.objects.filter(pk__in=[row.pk for row in rows]).update(state=STATE_AFTER[verdict])
    _settle_contributions({row.contribution_id for row in rows})
    if rows:
        record_audit(
            f"records.{verdict}",
            actor=reviewer,
            subject=f"datanet:{datanet.public_id}",
            batch=str(batch),
            count=len(rows),
            reason=reason,
        )
    return Decision(batch=batch, count=len(rows))


def _settle_contributions(contribution_ids: set[int]) -> None:
    """A contribution is decided when none of its rows waits."""
    waiting = Exists(Record.objects.filter(contribution=OuterRef("pk"), state=Record.State.PENDING))
    in_review, decided = Contribution.State.IN_REVIEW, Contribution.State.DECIDED
    touched = Contribution.objects.filter(
        pk__in=contribution_ids, state__in=[in_review, decided]
    ).order_by("pk")
    touched.filter(~waiting).update(state=decided)
    touched.filter(waiting).update(state=in_review)
