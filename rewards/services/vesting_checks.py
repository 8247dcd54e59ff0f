"""What reconcile asks about grants: the rows against what the chain says, to the wei.

Grants are nobody's balance here, so this is no part of I4; but people read the rows as what they
will get, and a release is offered by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.vesting import GrantReading, grants_made, read_grant, wallet_events
from rewards.models import VestingEvent, VestingGrant

Place = tuple[str, int]
State = VestingGrant.State


def grants_that_differ(client: ChainClient, addresses: Addresses, block: int) -> list[str]:
    """I11: each grant and each event of its wallet has one standing row that says the same, and its
    owner, holdings and releases are the wallet's own at `block`, which the books stand at."""
    if not addresses.vesting:
        return []
    first, chain_id = addresses.deployed_block, addresses.chain_id
    made = grants_made(client, addresses.vesting, first, block)
    rows = VestingGrant.objects.filter(chain_id=chain_id).exclude(state=State.VOIDED)
    grants = {row.wallet: row for row in rows}
    began = {grant.wallet: grant.place.block_number for grant in made}
    happened = [
        event
        for event in wallet_events(client, addresses.token, sorted(began), first, block)
        # What was sent to the address before there was a grant is in its balance, not in events.
        if event.place.block_number >= began[event.wallet]
    ]
    booked = VestingEvent.objects.filter(chain_id=chain_id).exclude(state=State.VOIDED)
    later = (row for row in booked if row.block_number >= began.get(row.wallet, 0))
    problems = _differing("grant", map(_of_grant, made), map(_of_grant_row, grants.values()))
    problems += _differing("event of a grant", map(_of_event, happened), map(_of_event_row, later))
    for wallet in sorted(began.keys() & grants.keys()):
        found, kept = read_grant(client, addresses.token, wallet, block), _kept(grants[wallet])
        if found != kept:
            problems.append(f"grant at {wallet}: its wallet says {found}, the books {kept}")
    return problems


def _differing(
    name: str, on_chain: Iterable[tuple[Place, Any]], rows: Iterable[tuple[Place, Any]]
) -> list[str]:
    said, kept = dict(on_chain), dict(rows)
    places = {place for place in said | kept if said.get(place) != kept.get(place)}
    return [f"{name} {digest} log {index} differs" for digest, index in sorted(places)]


def _of_grant(made: Any) -> tuple[Place, Any]:
    place = (made.place.transaction_hash, made.place.log_index)
    return place, (made.grant_id, made.beneficiary, made.wallet, made.amount_wei, made.schedule)


def _of_grant_row(row: VestingGrant) -> tuple[Place, Any]:
    place = (row.transaction_hash, row.log_index)
    return place, (row.grant_id, row.beneficiary, row.wallet, row.amount_wei, row.schedule)


def _of_event(event: Any) -> tuple[Place, Any]:
    place = (event.place.transaction_hash, event.place.log_index)
    return place, (event.kind, event.wallet, event.account, event.amount_wei)


def _of_event_row(row: VestingEvent) -> tuple[Place, Any]:
    place = (row.transaction_hash, row.log_index)
    return place, (row.kind, row.wallet, row.account, row.amount_wei)


def _kept(row: VestingGrant) -> GrantReading:
    return GrantReading(row.owner, int(row.allocation_wei), int(row.released_wei))
