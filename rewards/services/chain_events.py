"""Events of final blocks as rows: written once, and standing again when their block comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rewards.chain.client import ChainClient
from rewards.chain.records import LogPlace
from rewards.models import (
    AssetTransfer,
    Claim,
    CuratorDecision,
    Deposit,
    EscrowWithdrawal,
    ParameterChange,
    Proposal,
    StakeEvent,
    VestingEvent,
    VestingGrant,
)

Row = TypeVar(
    "Row",
    AssetTransfer,
    CuratorDecision,
    EscrowWithdrawal,
    ParameterChange,
    Proposal,
    StakeEvent,
    VestingEvent,
    VestingGrant,
)
Voidable = TypeVar(
    "Voidable",
    AssetTransfer,
    Claim,
    CuratorDecision,
    Deposit,
    EscrowWithdrawal,
    ParameterChange,
    Proposal,
    StakeEvent,
    VestingEvent,
    VestingGrant,
)


def keep_event(
    model: type[Row], place: LogPlace, chain_id: int, *, standing: str, **values: Any
) -> tuple[Row, bool, bool]:
    """The event's row, whether it is new, and whether it came back.

    A row that was voided with its block gets the state `standing` again; any other stays as it is.
    The caller holds a transaction open.
    """
    row, is_new = model._default_manager.get_or_create(
        chain_id=chain_id,
        transaction_hash=place.transaction_hash,
        log_index=place.log_index,
        block_hash=place.block_hash,
        defaults={"block_number": place.block_number, **values},
    )
    came_back = not is_new and row.state == model.State.VOIDED
    if came_back:
        row.state, row.applications = standing, row.applications + 1
        row.save(update_fields=["state", "applications"])
    return row, is_new, came_back


def void_left(
    client: ChainClient, model: type[Voidable], chain_id: int, void: Callable[[Voidable], None]
) -> list[int]:
    """Void the standing rows whose block is no longer on the chain, newest first; their blocks."""
    voided: list[int] = []
    standing = model._default_manager.filter(chain_id=chain_id).exclude(state="voided")
    for row in standing.order_by("-block_number", "-log_index"):
        if client.block_hash(row.block_number) == row.block_hash:
            break
        void(row)
        voided.append(row.block_number)
    return voided
