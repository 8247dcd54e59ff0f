"""What the chain told us, as frozen values. Money is wei, times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockReference:
    """A block; the hash is what a watcher stores to notice a reorganisation."""

    number: int
    hash: str
    timestamp: int


@dataclass(frozen=True)
class LogPlace:
    """Where an event happened; ``(transaction_hash, log_index)`` is unique on a chain."""

    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int


@dataclass(frozen=True)
class DepositEvent:
    """``account`` put ``amount_wei`` into custody; ids count up from 1.

    One by signature (EIP-3009) goes past the escrow's own count: its id is 0, and it has a nonce.
    """

    account: str
    amount_wei: int
    deposit_id: int
    place: LogPlace
    authorization_nonce: str = ""


@dataclass(frozen=True)
class WithdrawalEvent:
    """Custody paid ``amount_wei`` to ``to`` under a ``0x`` id that works once."""

    to: str
    amount_wei: int
    withdrawal_id: str
    place: LogPlace


@dataclass(frozen=True)
class ClaimEvent:
    """``account`` was paid ``amount_wei`` and has now claimed ``cumulative_amount_wei`` in all."""

    account: str
    amount_wei: int
    cumulative_amount_wei: int
    root: str
    place: LogPlace


@dataclass(frozen=True)
class DistributorState:
    """The distributor at one block; the proposal fields are None while none waits."""

    current_root: str
    current_epoch: int
    cumulative_total_wei: int
    total_claimed_wei: int
    funded_wei: int
    challenge_delay_seconds: int
    proposed_root: str | None
    activatable_at_timestamp: int | None


@dataclass(frozen=True)
class AnchorState:
    """When a root was anchored and over how many records."""

    timestamp: int
    block_number: int
    count: int


@dataclass(frozen=True)
class Receipt:
    """The outcome of a mined transaction."""

    transaction_hash: str
    is_success: bool
    block_number: int
    block_hash: str
    gas_used: int
    effective_gas_price_wei: int
    contract_address: str | None
