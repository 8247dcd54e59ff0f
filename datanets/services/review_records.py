"""Vote on rows, one or many at once; a press can be undone until a version holds the row.

A row is decided as soon as the votes that are still missing cannot change the majority. A tie and
a reviewer's "I am not sure" leave it to the curators, of whom one decides.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from datanets.models import Appeal, Contribution, Datanet, GoldRow, Record, Review
from datanets.selectors.quality import is_senior, open_gold, standing_votes
from datanets.selectors.stakes import staked_by
from datanets.selectors.trust import Level, trust_in
from datanets.services.answer_gold import answer_gold
from datanets.services.errors import AlreadyDecided, OwnRows, OwnStake, WaitsForCurator
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError

Verdict = Review.Verdict
_CAST = (Verdict.APPROVE, Verdict.REJECT, Verdict.FLAG)


@dataclass(frozen=True, slots=True)
class Decision:
    """One press: its batch undoes it. ``gold`` is the test row that was answered instead."""

    batch: uuid.UUID
    count: int
    decided: int = 0
    gold: GoldRow | None = None


def review_record(
    *, record: Record, reviewer: User, verdict: str, reason: str = "", note: str = ""
) -> Decision:
    """Vote on one pending row, or answer a test row.

    Raises `OwnRows` and `OwnStake` (403), and `AlreadyDecided` or `WaitsForCurator` (409).
    """
    if record.contribution.contributor_id == reviewer.pk:
        raise OwnRows
    if record.contribution_id in staked_by(reviewer, record.datanet):
        raise OwnStake
    gold = open_gold(reviewer, record.datanet).filter(record=record).first()
    if gold is not None:
        answer_gold(gold=gold, reviewer=reviewer, verdict=verdict)
        return Decision(batch=uuid.uuid4(), count=0, gold=gold)
    decision = review_all(
        records=Record.objects.filter(pk=record.pk),
        datanet=record.datanet,
        reviewer=reviewer,
        verdict=verdict,
        reason=reason,
        note=note,
    )
    if not decision.count:
        record.refresh_from_db(fields=["state", "escalated"])
        raise WaitsForCurator if record.escalated else AlreadyDecided
    return decision


def review_all(
    *,
    records: QuerySet[Record],
    datanet: Datanet,
    reviewer: User,
    verdict: str,
    reason: str = "",
    note: str = "",
) -> Decision:
    """Vote on every pending row in `records` that this reviewer may vote on: not their own, none
    behind which they have stake, not twice, and those left to the curators only as one."""
    if verdict not in _CAST:
        raise DomainError("A verdict is approve, reject or flag.", where="verdict")
    if verdict == Verdict.REJECT and reason not in Review.Reason:
        raise DomainError("Say why: choose a reason from the list.", where="reason")
    if verdict == Verdict.FLAG and not note.strip():
        raise DomainError("Say what the curator should look at.", where="note")
    vote = _Vote(Verdict(verdict), reason if verdict == Verdict.REJECT else "", note.strip()[:500])
    with transaction.atomic():
        senior = is_senior(reviewer, datanet)
        rows = list(
            Record.objects.select_for_update(of=("self",))
            .filter(pk__in=records.values("pk"), datanet=datanet, state=Record.State.PENDING)
            .exclude(contribution__contributor=reviewer)
            .exclude(contribution__in=staked_by(reviewer, datanet))
            .filter(**({} if senior else {"escalated": False}))
            .order_by("pk")
            .select_related("contribution")
            .only("pk", "escalated", "contribution__contributor")
        )
        return _vote(rows, datanet, reviewer, vote, senior)


@dataclass(frozen=True, slots=True)
class _Vote:
    verdict: Review.Verdict
    reason: str = ""
    note: str = ""


def _vote(
    rows: list[Record], datanet: Datanet, reviewer: User, vote: _Vote, senior: bool
) -> Decision:
    standing = _standing(rows, datanet)
    mine = {
        row.pk
        for row in rows
        if not (senior and row.escalated) and reviewer.pk in standing.get(row.pk, {})
    }
    rows = [row for row in rows if row.pk not in mine]
    needed = _votes_needed(rows, datanet)
    after = {}
    for row in rows:
        if row.escalated and vote.verdict in Review.VOTES:
            after[row] = _decided(vote.verdict)
        else:
            votes = [*standing.get(row.pk, {}).values(), vote.verdict]
            after[row] = _outcome(votes, needed[row.contribution.contributor_id])
    return _write(after, datanet, reviewer, vote)


def _standing(rows: Sequence[Record], datanet: Datanet) -> dict[int, dict[int, str]]:
    """Votes that stand, by row and reviewer; a Datanet of single votes has none on pending rows but
    those left to a curator."""
    asked = rows if datanet.votes_per_row > 1 else [row for row in rows if row.escalated]
    return standing_votes([row.pk for row in asked])


def _votes_needed(rows: Iterable[Record], datanet: Datanet) -> dict[int, int]:
    """How many votes decide a row of each contributor."""
    people = {row.contribution.contributor_id for row in rows}
    if datanet.votes_per_row == 1:
        return dict.fromkeys(people, 1)
    trust = trust_in(datanet, people)
    return {
        person: 1 if trust[person].level == Level.TRUSTED else datanet.votes_per_row
        for person in people
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a row."""

    state: Record.State
    escalated: bool = False


def _decided(verdict: str) -> Outcome:
    approved = verdict == Verdict.APPROVE
    return Outcome(Record.State.APPROVED if approved else Record.State.REJECTED)


def _outcome(votes: Sequence[str], needed: int) -> Outcome:
    if Verdict.FLAG in votes:
        return Outcome(Record.State.PENDING, escalated=True)
    approve, reject = votes.count(Verdict.APPROVE), votes.count(Verdict.REJECT)
    missing = max(0, needed - len(votes))
    if abs(approve - reject) > missing:
        return _decided(Verdict.APPROVE if approve > reject else Verdict.REJECT)
    return Outcome(Record.State.PENDING, escalated=not missing)


def undo_review(*, datanet: Datanet, reviewer: User, batch: uuid.UUID) -> Decision:
    """Take one's own press back. Raises Conflict: decided anew, undone already, or cut."""
    with transaction.atomic():
        _lock_as_a_cut_does(datanet, batch)
        newest = Review.objects.filter(record=OuterRef("pk")).order_by("-pk")
        rows: list[Any] = list(
            Record.objects.select_for_update(of=("self",))
            .filter(
                datanet=datanet,
                reviews__batch=batch,
                reviews__reviewer=reviewer,
                version_entries=None,
            )
            .exclude(state=Record.State.WITHDRAWN)
            .annotate(
                last_batch=newest.values("batch")[:1],
                own_batch=newest.filter(reviewer=reviewer).values("batch")[:1],
                appealed=Exists(Appeal.objects.filter(record=OuterRef("pk"))),
            )
            .filter(own_batch=batch)
            .order_by("pk")
            .select_related("contribution")
        )
        # Whoever voted after it was decided would see their decision changed by another's undo.
        rows = [row for row in rows if row.state == "pending" or row.last_batch == batch]
        if not rows:
            raise Conflict(
                "Nothing to undo: a version holds these rows, or they were decided anew."
            )
        return _write(_without(reviewer, rows, datanet), datanet, reviewer, _Vote(Verdict.UNDO))


def _lock_as_a_cut_does(datanet: Datanet, batch: uuid.UUID) -> None:
    """Contributions first: a withdrawal locks in this order, and both will be written."""
    pks = Record.objects.filter(reviews__batch=batch).values("contribution")
    list(Contribution.objects.select_for_update().filter(pk__in=pks).order_by("pk").only("pk"))
    Datanet.objects.select_for_update(no_key=True).get(pk=datanet.pk)


def _without(reviewer: User, rows: Sequence[Any], datanet: Datanet) -> dict[Record, Outcome]:
    """What becomes of rows when this reviewer's votes are taken away: all of them wait."""
    standing, needed = standing_votes([row.pk for row in rows]), _votes_needed(rows, datanet)
    after = {}
    for row in rows:
        votes = standing.get(row.pk, {})
        others = [verdict for person, verdict in votes.items() if person != reviewer.pk]
        left = _outcome(others, needed[row.contribution.contributor_id])
        after[row] = Outcome(Record.State.PENDING, left.escalated or row.appealed)
    return after


def _write(
    after: Mapping[Record, Outcome], datanet: Datanet, reviewer: User, vote: _Vote
) -> Decision:
    batch = uuid.uuid4()
    Review.objects.bulk_create(
        [
            Review(
                record=row,
                reviewer=reviewer,
                batch=batch,
                verdict=vote.verdict,
                reason=vote.reason,
                note=vote.note,
            )
            for row in after
        ],
        batch_size=1_000,
    )
    by_outcome = defaultdict(list)
    for row, outcome in after.items():
        by_outcome[outcome].append(row.pk)
    for outcome, pks in by_outcome.items():
        Record.objects.filter(pk__in=pks).update(state=outcome.state, escalated=outcome.escalated)
    _settle_contributions({row.contribution_id for row in after})
    if after:
        record_audit(
            f"records.{vote.verdict}",
            actor=reviewer,
            subject=f"datanet:{datanet.public_id}",
            batch=str(batch),
            count=len(after),
            reason=vote.reason,
        )
    decided = sum(outcome.state != Record.State.PENDING for outcome in after.values())
    return Decision(batch=batch, count=len(after), decided=decided)


def _settle_contributions(contribution_ids: set[int]) -> None:
    """A contribution is decided when none of its rows waits."""
    waiting = Exists(Record.objects.filter(contribution=OuterRef("pk"), state=Record.State.PENDING))
    in_review, decided = Contribution.State.IN_REVIEW, Contribution.State.DECIDED
    touched = Contribution.objects.filter(
        pk__in=contribution_ids, state__in=[in_review, decided]
    ).order_by("pk")
    touched.filter(~waiting).update(state=decided)
    touched.filter(waiting).update(state=in_review)
