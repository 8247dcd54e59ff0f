"""From the chain into the site: stakes, what they earned, and slashes.

The watcher books the events of final blocks here and undoes those whose block left the chain. What
an event touched is read from the contract afterwards, at the block that the books stand at, so a
page shows the contract's own figures without asking a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.records import WithdrawalEvent
from rewards.chain.staking import (
    StakingEvent,
    read_position,
    read_rules,
    read_target,
    read_unbonding_shares,
    staking_events,
    target_id,
)
from rewards.models import (
    EscrowWithdrawal,
    StakeEvent,
    StakePosition,
    StakeTarget,
    StakeUnbonding,
    StakingReading,
)
from rewards.services.chain_events import keep_event, void_left
from rewards.services.income_books import (
    book_income,
    book_withdrawal,
    void_income,
    void_withdrawal,
)
from rewards.services.slashes import follow_slash, unfollow_slash

Kind = StakeEvent.Kind
# A chain's own time may be any number; a page cannot show one after the year 9999.
LATEST_TIMESTAMP = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class StakeEvents:
    """What a range of blocks said about stakes, and what left the escrow meanwhile."""

    staking: Sequence[StakingEvent] = field(default_factory=list)
    withdrawals: Sequence[WithdrawalEvent] = field(default_factory=list)


def name_target(subject: str) -> None:
    """Remember which text a target stands for; calling again changes nothing."""
    StakeTarget.objects.update_or_create(
        chain_id=settings.CHAIN_ID, target=target_id(subject), defaults={"subject": subject}
    )


def as_time(timestamp: int | None) -> datetime | None:
    if not timestamp:
        return None
    return datetime.fromtimestamp(min(timestamp, LATEST_TIMESTAMP), tz=UTC)


def stake_events(client: ChainClient, addresses: Addresses, first: int, last: int) -> StakeEvents:
    """Read both-inclusive blocks; without the staking contract only what left the escrow."""
    withdrawals = client.withdrawal_events(addresses.escrow, first, last)
    if not addresses.staking:
        return StakeEvents(withdrawals=withdrawals)
    return StakeEvents(staking_events(client, addresses.staking, first, last), withdrawals)


def book_stakes(events: StakeEvents, addresses: Addresses) -> None:
    """Book what is new; the caller holds a transaction open."""
    for withdrawal in events.withdrawals:
        book_withdrawal(withdrawal, addresses.chain_id)
    for event in events.staking:
        row, is_new, came_back = keep_event(
            StakeEvent,
            event.place,
            addresses.chain_id,
            standing=StakeEvent.State.STANDING,
            kind=event.kind,
            target=event.target,
            account=event.account,
            amount_wei=event.amount_wei,
            shares=event.shares,
            unbonding_number=event.unbonding_number,
            due_at=as_time(event.due_timestamp),
            evidence=event.evidence,
        )
        if is_new or came_back:
            _apply(row)


def _apply(event: StakeEvent) -> None:
    _touch(event)
    if event.kind == Kind.INCOME:
        book_income(event)
    elif event.evidence:
        follow_slash(event)


def _touch(event: StakeEvent) -> None:
    """Whatever the event changed has to be read again."""
    place: dict[str, Any] = {"chain_id": event.chain_id, "target": event.target}
    StakeTarget.objects.update_or_create(**place, defaults={"is_stale": True})
    if event.kind in (Kind.STAKED, Kind.UNBONDING, Kind.COLLECTED):
        StakePosition.objects.update_or_create(
            **place, account=event.account, defaults={"is_stale": True}
        )
    if event.kind == Kind.UNBONDING and event.due_at is not None:
        StakeUnbonding.objects.update_or_create(
            chain_id=event.chain_id,
            number=event.unbonding_number,
            defaults={
                "target": event.target,
                "account": event.account,
                "releasable_at": event.due_at,
                "is_stale": True,
            },
        )
    elif event.kind == Kind.WITHDRAWN:
        leaving = StakeUnbonding.objects.filter(chain_id=event.chain_id)
        leaving.filter(number=event.unbonding_number).update(is_stale=True)


def void_stakes(client: ChainClient, chain_id: int) -> list[int]:
    """Void what stands in blocks that left the chain; return the block of each row."""
    voided = void_left(client, StakeEvent, chain_id, _void)
    voided += void_left(client, EscrowWithdrawal, chain_id, void_withdrawal)
    if voided:  # a reading of a later block may have counted what is gone
        for table in (StakeTarget, StakePosition, StakeUnbonding):
            table.objects.filter(chain_id=chain_id).update(is_stale=True)
    return voided


def _void(row: StakeEvent) -> None:
    if row.kind == Kind.INCOME:
        void_income(row)
    elif row.evidence:
        unfollow_slash(row)
    row.state, row.transaction = StakeEvent.State.VOIDED, None
    row.save(update_fields=["state", "transaction"])


def read_stakes(client: ChainClient, addresses: Addresses, block: int) -> int:
    """Read everything stale at `block`, which the books stand at; return how many rows."""
    if not addresses.staking:
        return 0
    count = 0
    for table, read in _READERS:
        for row in table.objects.filter(chain_id=addresses.chain_id, is_stale=True).order_by("pk"):
            fields = read(client, addresses.staking, row, block)
            table.objects.filter(pk=row.pk).update(**fields, is_stale=False, read_block=block)
            count += 1
    known = StakingReading.objects.filter(chain_id=addresses.chain_id).exists()
    if count or not known:
        rules = vars(read_rules(client, addresses.staking, block)).copy()
        StakingReading.objects.update_or_create(
            chain_id=addresses.chain_id, defaults=rules | {"read_block": block, "read_at": Now()}
        )
    return count


def _target_fields(
    client: ChainClient, staking: str, row: StakeTarget, block: int
) -> dict[str, object]:
    found = vars(read_target(client, staking, _bytes(row.target), block)).copy()
    executable = found.pop("slash_executable_timestamp")
    return found | {"slash_executable_at": as_time(executable)}


def _position_fields(
    client: ChainClient, staking: str, row: StakePosition, block: int
) -> dict[str, object]:
    return vars(read_position(client, staking, _bytes(row.target), row.account, block)).copy()


def _unbonding_fields(
    client: ChainClient, staking: str, row: StakeUnbonding, block: int
) -> dict[str, object]:
    return {"shares": read_unbonding_shares(client, staking, int(row.number), block)}


_READERS: tuple[tuple[Any, Any], ...] = (
    (StakeTarget, _target_fields),
    (StakePosition, _position_fields),
    (StakeUnbonding, _unbonding_fields),
)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
