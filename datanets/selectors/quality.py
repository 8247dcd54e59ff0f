"""How review goes in a Datanet: votes that stand, test rows, agreement, reviewers' figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from datanets.agreement import nominal_alpha, share_at_least
from datanets.models import Appeal, Datanet, GoldAnswer, GoldRow, Record, Review, SecondLook
from datanets.selectors.access import curatable_by, first_or_404, reviewable_by
from datanets.selectors.counts import so_many
from openledger_site.accounts.models import User

VOTES_LOOKED_AT = 20_000
"""The newest votes of a Datanet that its figures are made of."""
WEEK = timedelta(days=7)
VOTE_OF = {
    Record.State.APPROVED: Review.Verdict.APPROVE,
    Record.State.REJECTED: Review.Verdict.REJECT,
}
"""What was said of a row, by what became of it."""
APPEAL_DAYS = 30
APPEAL_TERM = timedelta(days=APPEAL_DAYS)


def is_senior(user: Any, datanet: Datanet) -> bool:
    """Who decides ties, doubts and appeals: the owner and the curators."""
    return curatable_by(user).filter(pk=datanet.pk).exists()


def standing_votes(record_pks: Sequence[int]) -> dict[int, dict[int, str]]:
    """{record: {reviewer: verdict}}: each reviewer's newest word, unless they took it back."""
    found: dict[int, dict[int, str]] = defaultdict(dict)
    newest = (
        Review.objects.filter(record__in=record_pks)
        .order_by("record_id", "reviewer_id", "-id")
        .distinct("record_id", "reviewer_id")
        .values_list("record_id", "reviewer_id", "verdict")
    )
    for record, reviewer, verdict in newest if record_pks else ():
        if verdict != Review.Verdict.UNDO:
            found[record][reviewer] = verdict
    return dict(found)


def open_gold(user: Any, datanet: Datanet) -> QuerySet[GoldRow]:
    """Test rows that this reviewer has not met, neither as a test nor as a row."""
    return (
        GoldRow.objects.filter(
            record__datanet=datanet,
            record__state__in=[Record.State.APPROVED, Record.State.REJECTED],
            retired=False,
        )
        .exclude(record__contribution__contributor=user.pk)
        .exclude(Q(created_by=user.pk) & Q(created_by__isnull=False))
        .exclude(Exists(GoldAnswer.objects.filter(gold=OuterRef("pk"), reviewer=user.pk)))
        .exclude(Exists(Review.objects.filter(record=OuterRef("record"), reviewer=user.pk)))
    )


def gold_due(user: Any, datanet: Datanet) -> Record | None:
    """The test row to show now: one after each `gold_every` votes, oldest first."""
    if not datanet.gold_every:
        return None
    votes = Review.objects.filter(
        record__datanet=datanet, reviewer=user.pk, verdict__in=Review.VOTES
    ).count()
    answered = GoldAnswer.objects.filter(gold__record__datanet=datanet, reviewer=user.pk).count()
    if votes < datanet.gold_every * (answered + 1):
        return None
    gold = open_gold(user, datanet).select_related("record__contribution__contributor").first()
    return gold.record if gold else None


def gold_rows(datanet: Datanet) -> QuerySet[GoldRow]:
    """All test rows with how often each was answered, and answered as expected."""
    said = ~Q(answers__verdict=Review.Verdict.FLAG)
    return (
        GoldRow.objects.filter(record__datanet=datanet)
        .select_related("record")
        .annotate(
            asked=Count("answers", filter=said),
            right=Count("answers", filter=Q(answers__verdict=F("expected"))),
        )
        .order_by("retired", "id")
    )


def gold_for_curator(user: Any, record_id: Any) -> GoldRow:
    rows = GoldRow.objects.filter(
        record__public_id=record_id, record__datanet__in=curatable_by(user)
    )
    found: GoldRow = first_or_404(rows.select_related("record__datanet"), "test row")
    return found


def reviews_shown(user: Any, record: Record) -> QuerySet[Review]:
    """Votes are blind until they decide: of a row that waits one sees one's own, a curator whom it
    was left to sees all."""
    reviews = record.reviews.select_related("reviewer")
    waits = record.state == Record.State.PENDING
    if waits and not (record.escalated and is_senior(user, record.datanet)):
        return reviews.filter(reviewer=user.pk)
    return reviews


def with_reviews_shown(user: Any, records: QuerySet[Record], datanet: Datanet) -> QuerySet[Record]:
    """Rows of a Datanet, each with the reviews that `reviews_shown` has of it."""
    shown = ~Q(record__state=Record.State.PENDING) | Q(reviewer=user.pk)
    if is_senior(user, datanet):
        shown |= Q(record__escalated=True)
    return records.prefetch_related(Prefetch("reviews", Review.objects.filter(shown)))


def reads_notes(user: Any, record: Record) -> bool:
    """Who reviews the Datanet, and who gave the row: a note may say whom it is about."""
    if record.contribution.contributor_id == user.pk:
        return True
    return reviewable_by(user).filter(pk=record.datanet_id).exists()


def appeal_of(record: Record) -> Appeal | None:
    """For its contributor and the curators; the caller has checked who asks."""
    return Appeal.objects.filter(record=record).first()


def gold_of(record: Record) -> GoldRow | None:
    """The test row made of a row; for curators only, or it is no test."""
    return GoldRow.objects.filter(record=record).first()


def may_appeal(record: Record) -> bool:
    """A rejected row, not appealed before, whose rejection is not older than `APPEAL_DAYS`."""
    if record.state != Record.State.REJECTED or appeal_of(record) is not None:
        return False
    decided = record.reviews.filter(verdict=Review.Verdict.REJECT).first()
    return decided is not None and decided.created_at > timezone.now() - APPEAL_TERM


def second_looks(user: Any, datanet: Datanet) -> QuerySet[SecondLook]:
    """Rows to look at again, oldest first; a curator's own rows are for another one."""
    return (
        SecondLook.objects.filter(
            record__datanet=datanet, outcome="", record__state=Record.State.APPROVED
        )
        .exclude(record__contribution__contributor=user.pk)
        .select_related("record__contribution__contributor", "opened_by")
        .order_by("id")
    )


def second_look_for(user: Any, public_id: Any) -> SecondLook:
    rows = SecondLook.objects.filter(
        public_id=public_id, record__datanet__in=curatable_by(user)
    ).select_related("record__datanet")
    found: SecondLook = first_or_404(rows, "second look")
    return found


@dataclass(slots=True)
class ReviewerFigures:
    """One reviewer's votes among those looked at."""

    name: str = ""
    votes: int = 0
    this_week: int = 0
    decided: int = 0
    with_outcome: int = 0
    tests: int = 0
    tests_right: int = 0
    hours: set[Any] = field(default_factory=set)

    @property
    def agreed_percent(self) -> int | None:
        """Of the decided rows, those in which the outcome was this reviewer's vote."""
        return round(100 * self.with_outcome / self.decided) if self.decided else None

    @property
    def an_hour(self) -> float:
        """Votes in an hour in which there was any."""
        return self.votes / len(self.hours) if self.hours else 0.0

    @property
    def tests_percent_at_least(self) -> int:
        """The lower end of the 95 % interval of the share of test rows answered right."""
        return round(100 * share_at_least(self.tests_right, self.tests))


@dataclass(frozen=True, slots=True)
class ReviewQuality:
    """``alpha`` is Krippendorff's, None where no two people voted on one row.

    What waits is in words, since a page does not count a million rows (``so_many``).
    """

    waiting: str
    escalated: str
    votes: int
    rows_with_two_votes: int
    alpha: float | None
    reviewers: list[ReviewerFigures]


def review_quality(datanet: Datanet) -> ReviewQuality:
    """Figures of the newest votes; the caller has checked that it is a curator who asks."""
    figures: dict[int, ReviewerFigures] = defaultdict(ReviewerFigures)
    votes = _newest_votes(datanet)
    by_row: dict[int, list[str]] = defaultdict(list)
    week_ago = timezone.now() - WEEK
    for row in votes:
        by_row[row["record_id"]].append(row["verdict"])
        one = figures[row["reviewer_id"]]
        one.votes += 1
        one.this_week += row["created_at"] >= week_ago
        one.hours.add(row["created_at"].replace(minute=0, second=0, microsecond=0))
        outcome = VOTE_OF.get(row["record__state"])
        one.decided += outcome is not None
        one.with_outcome += outcome == row["verdict"]
    _add_tests(datanet, figures)
    for pk, person in User.objects.in_bulk(figures.keys()).items():
        figures[pk].name = person.name
    pending = Record.objects.filter(datanet=datanet, state=Record.State.PENDING)
    return ReviewQuality(
        waiting=so_many(pending),
        escalated=so_many(pending.filter(escalated=True)),
        votes=len(votes),
        rows_with_two_votes=sum(len(said) > 1 for said in by_row.values()),
        alpha=nominal_alpha(by_row.values()),
        reviewers=sorted(figures.values(), key=lambda one: (-one.votes, one.name)),
    )


def _newest_votes(datanet: Datanet) -> list[dict[str, Any]]:
    """Each reviewer's last vote on a row that was not taken back, the newest rows first."""
    newest = (
        Review.objects.filter(record__datanet=datanet)
        .order_by("-record_id", "reviewer_id", "-id")
        .distinct("record_id", "reviewer_id")
        .values(
            "record_id",
            "reviewer_id",
            "verdict",
            "created_at",
            "record__state",
        )[:VOTES_LOOKED_AT]
    )
    return [dict(row) for row in newest if row["verdict"] in Review.VOTES]


def _add_tests(datanet: Datanet, figures: dict[int, ReviewerFigures]) -> None:
    answers: Iterable[GoldAnswer] = (
        GoldAnswer.objects.filter(gold__record__datanet=datanet, verdict__in=Review.VOTES)
        .select_related("gold")
        .order_by("-id")[:VOTES_LOOKED_AT]
    )
    for answer in answers:
        one = figures[answer.reviewer_id]
        one.tests += 1
        one.tests_right += answer.verdict == answer.gold.expected
