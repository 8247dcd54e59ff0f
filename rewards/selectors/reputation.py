"""What a person's reputation rests on, and the numbers of several people at once.

Reviews belong to an app above, which tells its sums through `register_review_evidence`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import (
    DurationField,
    ExpressionWrapper,
    F,
    FloatField,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Cast, Extract, Now, Power
from django.http import Http404

from openledger_site.accounts.models import User
from rewards.models import EarningLine, Reputation, ReputationIssue, SlashCase
from rewards.reputation import (
    FAULT_HALF_LIFE_DAYS,
    HALF_LIFE_DAYS,
    DecidedRows,
    Evidence,
    rejections,
    voices,
)
from rewards.selectors.subjects import visible_subjects

People = Collection[int] | None
"""Ids of users; None for everybody."""
ReviewEvidence = Callable[[People], Iterable[tuple[int, DecidedRows]]]
_review_evidence: list[ReviewEvidence] = []


@dataclass(frozen=True)
class Grounds:
    """All that one person's reputation rests on. Payers are amounts, without names."""

    paid_wei: tuple[float, ...]
    """What each payer's answers paid to the platform by this person's share, faded."""
    decided: tuple[DecidedRows, ...]
    faults: float

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            voices=voices(self.paid_wei, settings.REPUTATION_VOICE_WEI),
            rejections=rejections(self.decided),
            faults=self.faults,
        )


@dataclass(frozen=True)
class ReviewedDatanet:
    """What the reviewers of one Datanet say. Without a name where this person may not see it."""

    title: str
    url: str
    rows: DecidedRows

    @property
    def halvings(self) -> float:
        return rejections([self.rows])

    @property
    def rejected_percent(self) -> int:
        return round(100 * self.rows.rejected / (self.rows.approved + self.rows.rejected))


@dataclass(frozen=True)
class Explained:
    """Grounds as the person themselves may see them."""

    grounds: Grounds
    datanets: tuple[ReviewedDatanet, ...]
    slashes: tuple[SlashCase, ...]

    @property
    def evidence(self) -> Evidence:
        return self.grounds.evidence

    @property
    def payers(self) -> int:
        return len(self.grounds.paid_wei)

    def as_dict(self) -> dict[str, Any]:
        """What `rewards.reputation` computes the number from, and the number."""
        found = self.evidence
        return {
            "score": found.score,
            "voices": found.voices,
            "rejections": found.rejections,
            "faults": found.faults,
            "paid_to_the_platform_wei_by_payer": list(self.grounds.paid_wei),
            "decided_rows": [asdict(rows) for rows in self.grounds.decided],
            "slashes": [
                {"subject": case.subject, "decided_at": case.created_at.isoformat()}
                for case in self.slashes
            ],
        }


NOTHING = Grounds((), (), 0.0)


def register_review_evidence(function: ReviewEvidence) -> None:
    """Let an app above tell the decided rows of people, faded by `faded(…, HALF_LIFE_DAYS)`."""
    _review_evidence.append(function)


def faded(since: str, half_life_days: int) -> Power:
    """How much of something is left by now: half after each half-life since that column's time."""
    age = ExpressionWrapper(Now() - F(since), output_field=DurationField())
    half_lives = Extract(age, "epoch", output_field=FloatField()) / (half_life_days * 86_400.0)
    return Power(Value(0.5), half_lives, output_field=FloatField())


def grounds_of(people: People = None) -> dict[int, Grounds]:
    """By user id; those without any evidence are left out."""
    paid: dict[int, list[float]] = defaultdict(list)
    for person, amount in _paid_to_the_platform(people):
        paid[person].append(amount)
    decided: dict[int, list[DecidedRows]] = defaultdict(list)
    for tell in _review_evidence:
        for person, rows in tell(people):
            decided[person].append(rows)
    faults = _faults(people)
    return {
        person: Grounds(
            tuple(sorted(paid.get(person, ()), reverse=True)),
            tuple(decided.get(person, ())),
            faults.get(person, 0.0),
        )
        for person in {*paid, *decided, *faults}
    }


def _paid_to_the_platform(people: People) -> Iterable[tuple[int, float]]:
    """(person, wei) for each payer: the person's part of what the answers paid to the platform."""
    share = Cast("amount_wei", FloatField()) / Cast("settlement__contributors_wei", FloatField())
    to_platform = Cast("settlement__platform_wei", FloatField())
    lines = (
        EarningLine.objects.filter(role=EarningLine.Role.CONTRIBUTOR)
        .exclude(state=EarningLine.State.REFUNDED)
        .exclude(user=F("settlement__payer"))
    )
    if people is not None:
        lines = lines.filter(user__in=people)
    counted = lines.order_by().values("user", "settlement__payer")
    weighted = share * to_platform * faded("settlement__created_at", HALF_LIFE_DAYS)
    return counted.annotate(wei=Sum(weighted)).values_list("user", "wei").iterator()


def _faults(people: People) -> dict[int, float]:
    cases = SlashCase.objects.filter(state=SlashCase.State.EXECUTED, owner__isnull=False)
    if people is not None:
        cases = cases.filter(owner__in=people)
    summed = cases.order_by().values("owner")
    weight = Sum(faded("created_at", FAULT_HALF_LIFE_DAYS))
    return dict(summed.annotate(faults=weight).values_list("owner", "faults"))


def reputation_of(user: User) -> Reputation | None:
    return Reputation.objects.filter(user=user).first()


def explained(user: User) -> Explained:
    """What this person's number rests on by now, with the names of what they may see."""
    grounds = grounds_of([user.pk]).get(user.pk, NOTHING)
    names = visible_subjects(user, [f"datanet:{rows.datanet_id}" for rows in grounds.decided])
    datanets = []
    for rows in grounds.decided:
        seen = names.get(f"datanet:{rows.datanet_id}")
        title, url = (seen.title, seen.url) if seen else ("A Datanet you no longer see", "")
        datanets.append(ReviewedDatanet(title, url, rows))
    carried_out = SlashCase.objects.filter(owner=user, state=SlashCase.State.EXECUTED)
    return Explained(grounds, tuple(datanets), tuple(carried_out.order_by("-pk")))


def person_with_reputation(public_id: UUID) -> Reputation:
    """For everybody to see. 404 for people without one, as for people who do not exist."""
    found = Reputation.objects.filter(user__public_id=public_id, user__is_active=True, score__gt=0)
    reputation = found.select_related("user").first()
    if reputation is None:
        raise Http404("Nobody with a reputation is here.")
    return reputation


def issues_of(user: User) -> QuerySet[ReputationIssue]:
    """What was written to this person's tokens, newest first."""
    return ReputationIssue.objects.filter(user=user).select_related("chain_transaction")


def shown_issue(user: User) -> ReputationIssue | None:
    """The token that stands on chain for this person, if one does."""
    newest = issues_of(user).filter(chain_transaction__state__in=("mined", "final")).first()
    return newest if newest and newest.score is not None else None
