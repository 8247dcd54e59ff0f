"""What was sent for people who pay the network fee in OPEN, and the books of whoever sends it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import Q, Sum
from django.http import Http404

from openledger_site.accounts.models import User
from rewards.models import Relay


@dataclass(frozen=True)
class RelayBooks:
    """Wei of OPEN, and of ETH. `at_stake_wei` waits for deposits to pay for themselves."""

    earned_wei: int
    spent_wei: int
    spent_eth_wei: int
    at_stake_wei: int

    @property
    def surplus_wei(self) -> int:
        return self.earned_wei - self.spent_wei

    @property
    def worst_wei(self) -> int:
        """The surplus if everything that is at stake fails."""
        return self.surplus_wei - self.at_stake_wei


def relay_books() -> RelayBooks:
    """All of this chain's relays; pending ones count by what is at stake for them."""
    unpaid = Q(state=Relay.State.PENDING, hold=None)
    sums = Relay.objects.filter(chain_id=settings.CHAIN_ID).aggregate(
        earned=Sum("fee_wei"),
        spent=Sum("cost_wei"),
        spent_eth=Sum("gas_cost_wei"),
        at_stake=Sum("quoted_wei", filter=unpaid),
    )
    found = {name: int(value or 0) for name, value in sums.items()}
    return RelayBooks(found["earned"], found["spent"], found["spent_eth"], found["at_stake"])


def relay_of(user: User, public_id: UUID) -> Relay:
    """One's own; 404 for everybody else."""
    found = Relay.objects.select_related("chain_transaction").filter(user=user, public_id=public_id)
    relay = found.first()
    if relay is None:
        raise Http404("There is no such transaction.")
    return relay
