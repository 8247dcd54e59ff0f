"""Reads for the pages of stakes. What a target has is public to whoever may see the target; whose
wallet holds which stake is shown to its owner only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, QuerySet, Sum
from django.http import Http404
from django.utils import timezone

from openledger_site.accounts.models import User
from openledger_site.accounts.selectors import wallets_here
from rewards.chain.governance import WHOLE_BPS
from rewards.chain.staking import PositionReading, income_wei, target_id, worth_wei
from rewards.models import (
    IncomePayment,
    IncomeRound,
    SlashCase,
    StakeEvent,
    StakePosition,
    StakeTarget,
    StakeUnbonding,
    StakingReading,
)
from rewards.selectors.money import wallet_addresses_of
from rewards.selectors.parameters import slashing_cap_bps
from rewards.selectors.subjects import StakeSubject, visible_subjects

DAYS = 30
TARGETS_SHOWN = 50
HIDDEN = "A target that is not shown to you"


def slash_cap_wei(target: StakeTarget | None) -> int:
    """The most that one slash may take of a target now, in wei (OpenStaking.slashCap)."""
    return target.all_wei * slashing_cap_bps() // WHOLE_BPS if target else 0


@dataclass(frozen=True)
class AppealedSlash:
    """An open slash with appeals that wait for an arbiter."""

    subject: StakeSubject
    appeals: int
    amount_wei: int
    until: datetime | None


@dataclass(frozen=True)
class TargetFigures:
    """What is staked on a subject and what that earned. All of it is in the books or on chain."""

    subject: StakeSubject
    target: str
    bonded_wei: int
    unbonding_wei: int
    stakers: int
    income_wei: int
    answers: int
    slash_cap_wei: int
    slash_executable_at: datetime | None


@dataclass(frozen=True)
class OwnStake:
    """What one linked wallet has on one target. `subject` is None when it may not be shown."""

    account: str
    target: str
    subject: StakeSubject | None
    shares: int
    bonded_wei: int
    income_wei: int
    slash_executable_at: datetime | None

    @property
    def title(self) -> str:
        return self.subject.title if self.subject else HIDDEN


@dataclass(frozen=True)
class OwnUnbonding:
    """A stake on its way out, worth `amount_wei` after all slashes so far."""

    number: int
    account: str
    subject: StakeSubject | None
    target: str
    amount_wei: int
    releasable_at: datetime
    slash_executable_at: datetime | None

    @property
    def title(self) -> str:
        return self.subject.title if self.subject else HIDDEN

    @property
    def is_ready(self) -> bool:
        return self.releasable_at <= timezone.now() and self.slash_executable_at is None


def subject_for(user: Any, kind: str, public_id: UUID) -> StakeSubject:
    """The subject, for whoever may see it; 404 whether it is missing or hidden."""
    subject = f"{kind}:{public_id}"
    found = visible_subjects(user, [subject]).get(subject)
    if found is None:
        raise Http404("There is nothing to stake on here.")
    return found


def staking_reading() -> StakingReading | None:
    return StakingReading.objects.filter(chain_id=settings.CHAIN_ID).first()


def has_stakers(subject: str) -> bool:
    """Whether somebody is staked on it, as far as the site has read final blocks."""
    rows = StakeTarget.objects.filter(chain_id=settings.CHAIN_ID, target=target_id(subject))
    return rows.filter(bonded_shares__gt=0).exists()


def figures_of(subject: StakeSubject) -> TargetFigures:
    target = target_id(subject.subject)
    row = StakeTarget.objects.filter(chain_id=settings.CHAIN_ID, target=target).first()
    return _figures(subject, row or StakeTarget(target=target))


def _figures(subject: StakeSubject, row: StakeTarget) -> TargetFigures:
    positions = StakePosition.objects.filter(chain_id=settings.CHAIN_ID, target=row.target)
    since = timezone.now() - timedelta(days=DAYS)
    paid = IncomePayment.objects.filter(
        round__chain_id=settings.CHAIN_ID,
        target=row.target,
        state=IncomePayment.State.PAID,
        round__planned_at__gt=since,
    )
    answers = paid.aggregate(count=Count("shares__settlement", distinct=True))["count"]
    return TargetFigures(
        subject=subject,
        target=row.target,
        bonded_wei=int(row.bonded_wei),
        unbonding_wei=int(row.unbonding_wei),
        stakers=positions.filter(shares__gt=0).values("account").distinct().count(),
        income_wei=int(paid.aggregate(wei=Sum("amount_wei"))["wei"] or 0),
        answers=answers,
        slash_cap_wei=slash_cap_wei(row),
        slash_executable_at=row.slash_executable_at,
    )


def targets_visible_to(user: Any) -> list[TargetFigures]:
    """Targets with stake that this person may see, most staked first."""
    rows = StakeTarget.objects.filter(chain_id=settings.CHAIN_ID, bonded_shares__gt=0)
    named = list(rows.exclude(subject="").order_by("-bonded_wei")[: 4 * TARGETS_SHOWN])
    seen = visible_subjects(user, [row.subject for row in named])
    shown = [row for row in named if row.subject in seen][:TARGETS_SHOWN]
    return [_figures(seen[row.subject], row) for row in shown]


def stakes_of(user: User, target: str = "") -> list[OwnStake]:
    """What the linked wallets have bonded or earned, on one target or on all."""
    rows = StakePosition.objects.filter(
        chain_id=settings.CHAIN_ID, account__in=wallet_addresses_of(user)
    )
    if target:
        rows = rows.filter(target=target)
    positions = list(rows.order_by("target", "account"))
    targets = _targets({row.target for row in positions})
    subjects = visible_subjects(user, [row.subject for row in targets.values() if row.subject])
    stakes = [_own_stake(row, targets[row.target], subjects) for row in positions]
    return [stake for stake in stakes if stake.bonded_wei or stake.income_wei]


def _own_stake(
    position: StakePosition, target: StakeTarget, subjects: dict[str, StakeSubject]
) -> OwnStake:
    reading = PositionReading(
        int(position.shares), int(position.income_index), int(position.income_owed_wei)
    )
    return OwnStake(
        account=position.account,
        target=position.target,
        subject=subjects.get(target.subject),
        shares=reading.shares,
        bonded_wei=worth_wei(int(target.bonded_wei), int(target.bonded_shares), reading.shares),
        income_wei=income_wei(reading, int(target.income_index)),
        slash_executable_at=target.slash_executable_at,
    )


def unbondings_of(user: User, target: str = "") -> list[OwnUnbonding]:
    """What the linked wallets are taking out, the next to be ready first."""
    rows = StakeUnbonding.objects.filter(
        chain_id=settings.CHAIN_ID, account__in=wallet_addresses_of(user), shares__gt=0
    )
    if target:
        rows = rows.filter(target=target)
    leaving = list(rows.order_by("releasable_at", "number"))
    targets = _targets({row.target for row in leaving})
    subjects = visible_subjects(user, [row.subject for row in targets.values() if row.subject])
    return [
        OwnUnbonding(
            number=int(row.number),
            account=row.account,
            subject=subjects.get(targets[row.target].subject),
            target=row.target,
            amount_wei=worth_wei(
                int(targets[row.target].unbonding_wei),
                int(targets[row.target].unbonding_shares),
                int(row.shares),
            ),
            releasable_at=row.releasable_at,
            slash_executable_at=targets[row.target].slash_executable_at,
        )
        for row in leaving
    ]


def _targets(ids: set[str]) -> dict[str, StakeTarget]:
    rows = StakeTarget.objects.filter(chain_id=settings.CHAIN_ID, target__in=ids)
    return {row.target: row for row in rows}


def bonded_wei(subjects: Iterable[str]) -> dict[str, int]:
    """What is bonded on those of `subjects` that have stake, as last read; one query."""
    by_target = {target_id(subject): subject for subject in subjects}
    rows = StakeTarget.objects.filter(
        chain_id=settings.CHAIN_ID, target__in=by_target, bonded_wei__gt=0
    )
    return {by_target[row.target]: int(row.bonded_wei) for row in rows}


def staked_targets_of(user: Any) -> set[str]:
    """Targets on which a linked wallet of this person has bonded stake; one query."""
    rows = StakePosition.objects.filter(
        chain_id=settings.CHAIN_ID,
        account__in=wallets_here(user).values("address"),
        shares__gt=0,
    )
    return set(rows.values_list("target", flat=True))


def payments_of(target: str) -> QuerySet[IncomePayment]:
    """What rounds paid in for a target, newest first, each with the number of its `answers`."""
    paid = IncomePayment.objects.filter(
        round__chain_id=settings.CHAIN_ID, target=target, state=IncomePayment.State.PAID
    )
    counted = paid.annotate(answers=Count("shares__settlement", distinct=True))
    return counted.select_related("round", "chain_transaction").order_by("-round")


def income_rounds() -> QuerySet[IncomeRound]:
    """All rounds of this chain, newest first; they are public."""
    return IncomeRound.objects.filter(chain_id=settings.CHAIN_ID).order_by("-number")


def is_booked(transaction_hash: str) -> bool:
    """Whether the site has read a stake event of this transaction."""
    events = StakeEvent.objects.filter(
        chain_id=settings.CHAIN_ID, transaction_hash=transaction_hash
    )
    return events.exclude(state=StakeEvent.State.VOIDED).exists()


def slashes_of(target: str) -> QuerySet[SlashCase]:
    """The cases of a target with their appeals, newest first."""
    cases = SlashCase.objects.filter(chain_id=settings.CHAIN_ID, target=target)
    return cases.prefetch_related("appeals").order_by("-pk")


def appealed_slashes(user: Any) -> list[AppealedSlash]:
    """For arbiters: what can still be overturned and was appealed, the next to end first."""
    if not may_overturn(user):
        return []
    cases = SlashCase.objects.filter(
        chain_id=settings.CHAIN_ID, state__in=SlashCase.OPEN, overturned_by__isnull=True
    ).exclude(decided_by=user)
    counted = cases.annotate(appeal_count=Count("appeals")).filter(appeal_count__gt=0)
    rows = list(counted.order_by("executable_at", "pk"))
    seen = visible_subjects(user, [row.subject for row in rows])
    return [
        AppealedSlash(seen[row.subject], row.appeal_count, row.amount_wei, row.executable_at)
        for row in rows
        if row.subject in seen
    ]


def may_read_decisions(user: Any, subject: StakeSubject) -> bool:
    """Who is concerned reads the words: the owner, the stakers, and those who decide."""
    if not user.is_authenticated:
        return False
    if user.pk == subject.owner_id or may_decide(user) or may_overturn(user):
        return True
    return _has_stake(user, target_id(subject.subject))


def _has_stake(user: User, target: str) -> bool:
    return bool(stakes_of(user, target) or unbondings_of(user, target))


def may_decide(user: Any) -> bool:
    return bool(user.is_staff and user.has_perm("rewards.decide_slash"))


def may_overturn(user: Any) -> bool:
    return bool(user.is_staff and user.has_perm("rewards.overturn_slash"))


def slash_for_concerned(user: User, public_id: UUID) -> SlashCase:
    """The case for whom it costs something: the owner, of now or then, and the stakers."""
    case = SlashCase.objects.filter(public_id=public_id).first()
    if case is None:
        raise Http404("No such slash.")
    subject = visible_subjects(user, [case.subject]).get(case.subject)
    owners = {case.owner_id, subject.owner_id if subject else None}
    if user.pk not in owners and not _has_stake(user, case.target):
        raise Http404("No such slash.")
    return case


def slash_for_arbiter(user: Any, public_id: UUID) -> SlashCase:
    """The case for an arbiter; 404 for everybody else."""
    case = SlashCase.objects.filter(public_id=public_id).first() if may_overturn(user) else None
    if case is None:
        raise Http404("No such slash.")
    return case
