"""Grants and what unlocks when: public figures of all of them, and one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone

from openledger_site.accounts.models import User
from rewards.models import ChainTransaction, VestingEvent, VestingGrant
from rewards.selectors.money import wallet_addresses_of
from rewards.vesting import UnlockMonth, unlocks_by_month

CHART_HEIGHT = 1_000


@dataclass(frozen=True)
class GrantFigures:
    """A grant now, in wei. What is unlocked and not yet released can be released by anyone."""

    grant: VestingGrant
    unlocked_wei: int
    asked: ChainTransaction | None = None
    """The release that its owner asked the site for today, on one's own card."""

    @property
    def releasable_wei(self) -> int:
        return max(0, self.unlocked_wei - int(self.grant.released_wei))

    @property
    def locked_wei(self) -> int:
        return int(self.grant.allocation_wei) - self.unlocked_wei


@dataclass(frozen=True)
class UnlockBar:
    """A month of the chart: `height` of `CHART_HEIGHT` is unlocked at its end."""

    month: UnlockMonth
    height: int
    is_over: bool

    @property
    def top(self) -> int:
        return CHART_HEIGHT - self.height


@dataclass(frozen=True)
class Unlocks:
    """All grants together, in wei, and every month from the first start to the last end."""

    grants: int
    granted_wei: int
    unlocked_wei: int
    released_wei: int
    bars: list[UnlockBar]

    @property
    def locked_wei(self) -> int:
        return self.granted_wei - self.unlocked_wei

    @property
    def shares(self) -> list[dict[str, Any]]:
        """For `share_bar`."""
        return [
            {"label": "Released", "value": self.released_wei},
            {"label": "Unlocked, not released", "value": self.unlocked_wei - self.released_wei},
            {"label": "Locked", "value": self.locked_wei},
        ]


def grants() -> QuerySet[VestingGrant]:
    """All that stand, newest first; they are public."""
    standing = VestingGrant.objects.filter(
        chain_id=settings.CHAIN_ID, state=VestingGrant.State.STANDING
    )
    return standing.order_by("-block_number", "-log_index")


def figures_of(grant: VestingGrant, asked: ChainTransaction | None = None) -> GrantFigures:
    now = int(timezone.now().timestamp())
    unlocked_wei = grant.schedule.unlocked_wei(int(grant.allocation_wei), now)
    return GrantFigures(grant, unlocked_wei, asked)


def unlocks() -> Unlocks:
    """Read once: the public page sums a small table here, month by month."""
    figures = [figures_of(grant) for grant in grants()]
    granted = sum(int(each.grant.allocation_wei) for each in figures)
    months = unlocks_by_month(
        (each.grant.schedule, int(each.grant.allocation_wei)) for each in figures
    )
    this_month = timezone.now().date().replace(day=1)
    return Unlocks(
        grants=len(figures),
        granted_wei=granted,
        unlocked_wei=sum(each.unlocked_wei for each in figures),
        released_wei=sum(int(each.grant.released_wei) for each in figures),
        bars=[
            UnlockBar(month, month.unlocked_wei * CHART_HEIGHT // granted, month.month < this_month)
            for month in months
        ],
    )


def grants_of(user: User) -> list[GrantFigures]:
    """Those that pay a linked wallet of this person, newest first."""
    own = list(grants().filter(owner__in=wallet_addresses_of(user)))
    sent = ChainTransaction.objects.filter(
        chain_id=settings.CHAIN_ID,
        purpose="release",
        subject__in=[release_subject(grant) for grant in own],
    ).exclude(state=ChainTransaction.State.FAILED)
    asked = {row.subject: row for row in sent}
    return [figures_of(grant, asked.get(release_subject(grant))) for grant in own]


def release_subject(grant: VestingGrant) -> str:
    """Names the release that the site sends for a grant: one a day."""
    return f"release:{grant.wallet}:{timezone.now().date().isoformat()}"


def grant_for_owner(user: User, wallet: str) -> VestingGrant:
    """The grant in `wallet`; 404 unless it pays a linked wallet of this person."""
    own = grants().filter(owner__in=wallet_addresses_of(user), wallet__iexact=wallet)
    grant = own.first()
    if grant is None:
        raise Http404("No such grant.")
    return grant


def is_released(user: User, transaction_hash: str) -> bool:
    """Whether the site has read a release of a grant of this person in this transaction."""
    own = grants().filter(owner__in=wallet_addresses_of(user)).values("wallet")
    events = VestingEvent.objects.filter(
        chain_id=settings.CHAIN_ID,
        transaction_hash=transaction_hash,
        kind=VestingEvent.Kind.RELEASED,
        wallet__in=own,
    )
    return events.exclude(state=VestingEvent.State.VOIDED).exists()
