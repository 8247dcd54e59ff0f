"""Grants that unlock over time: followed on chain, and released for those who ask us to.

The watcher books what final blocks said. Whose a grant is, what it ever held and what it released
is read from its wallet afterwards, at the block that the books stand at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import QuerySet

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from openledger_site.core.money import WEI_PER_OPEN
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.vesting import GrantMade, WalletEvent, grants_made, read_grant, wallet_events
from rewards.models import ChainTransaction, VestingEvent, VestingGrant
from rewards.selectors.vesting import figures_of, release_subject
from rewards.services.chain_events import keep_event, void_left
from rewards.services.sender import queue_transaction

RELEASED_FOR_OTHERS_MIN_WEI = WEI_PER_OPEN


@dataclass(frozen=True)
class VestingEvents:
    """What a range of blocks said about grants, new and older."""

    grants: Sequence[GrantMade] = field(default_factory=list)
    wallets: Sequence[WalletEvent] = field(default_factory=list)


class NothingToRelease(Conflict):
    code = "nothing_to_release"
    message = (
        "The site sends a release once 1 OPEN or more is unlocked. Release less from your wallet."
    )


def vesting_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> VestingEvents:
    """Read both-inclusive blocks."""
    if not addresses.vesting:
        return VestingEvents()
    made = grants_made(client, addresses.vesting, first, last)
    wallets = set(_standing(addresses.chain_id).values_list("wallet", flat=True))
    wallets |= {grant.wallet for grant in made}
    events = wallet_events(client, addresses.token, sorted(wallets), first, last)
    return VestingEvents(made, events)


def _standing(chain_id: int) -> QuerySet[VestingGrant]:
    grants = VestingGrant.objects.filter(chain_id=chain_id)
    return grants.exclude(state=VestingGrant.State.VOIDED)


def book_vesting(events: VestingEvents, addresses: Addresses) -> None:
    """Book what is new; the caller holds a transaction open."""
    for made in events.grants:
        keep_event(
            VestingGrant,
            made.place,
            addresses.chain_id,
            standing=VestingGrant.State.STANDING,
            grant_id=made.grant_id,
            beneficiary=made.beneficiary,
            wallet=made.wallet,
            amount_wei=made.amount_wei,
            start=made.schedule.start,
            cliff_seconds=made.schedule.cliff_seconds,
            duration_seconds=made.schedule.duration_seconds,
            owner=made.beneficiary,
            allocation_wei=made.amount_wei,
        )
    for event in events.wallets:
        keep_event(
            VestingEvent,
            event.place,
            addresses.chain_id,
            standing=VestingEvent.State.STANDING,
            kind=event.kind,
            wallet=event.wallet,
            account=event.account,
            amount_wei=event.amount_wei,
        )
    touched = {event.wallet for event in events.wallets}
    _standing(addresses.chain_id).filter(wallet__in=touched).update(is_stale=True)


def void_vesting(client: ChainClient, chain_id: int) -> list[int]:
    """Void what stands in blocks that left the chain; return the block of each row."""
    voided = void_left(client, VestingEvent, chain_id, _void)
    voided += void_left(client, VestingGrant, chain_id, _void)
    if voided:  # a reading of a later block may have counted what is gone
        _standing(chain_id).update(is_stale=True)
    return voided


def _void(row: VestingEvent | VestingGrant) -> None:
    row.state = row.State.VOIDED
    row.save(update_fields=["state"])


def read_vesting(client: ChainClient, addresses: Addresses, block: int) -> int:
    """Read the wallets of stale grants at `block`, which the books stand at; how many."""
    count = 0
    for grant in _standing(addresses.chain_id).filter(is_stale=True).order_by("pk"):
        found = read_grant(client, addresses.token, grant.wallet, block)
        VestingGrant.objects.filter(pk=grant.pk).update(
            **vars(found), is_stale=False, read_block=block
        )
        count += 1
    return count


def release_grant(*, grant: VestingGrant, actor: User) -> ChainTransaction:
    """Send the release of a grant at our cost, at most once a day; it pays the grant's owner.

    `actor` owns it: the caller knows. Raises `NothingToRelease` below 1 OPEN.
    """
    if figures_of(grant).releasable_wei < RELEASED_FOR_OTHERS_MIN_WEI:
        raise NothingToRelease()
    with transaction.atomic():
        row = queue_transaction("release", subject=release_subject(grant), wallet=grant.wallet)
        record_audit("vesting.release", actor=actor, subject=f"grant:{grant.wallet}")
    return row
