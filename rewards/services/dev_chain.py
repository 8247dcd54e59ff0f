"""What only the development chain may do: hand out and grant test OPEN."""

from __future__ import annotations

from dataclasses import asdict
from uuid import uuid4

from django.conf import settings

from openledger_site.core.errors import DomainError
from openledger_site.core.waiting import rounds
from rewards.chain.errors import ReceiptTimeout
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.models import ChainTransaction
from rewards.services.chain import (
    contract_addresses,
    operator_signer,
)
from rewards.services.sender import queue_transaction, send_transactions
from rewards.vesting import Schedule

WEI_FOR_GAS = 10**18
State = ChainTransaction.State


class NotTheDevelopmentChain(DomainError):
    code = "not_the_development_chain"
    message = "This works on the development chain only."


def give_test_open(account: str, amount_wei: int, *, timeout_seconds: float = 30.0) -> list[str]:
    """Mint OPEN and send coin for gas to `account`; return the transaction hashes once mined.

    Raises `ReceiptTimeout` when the chain does not mine in time.
    """
    _refuse_elsewhere()
    subject = f"faucet:{uuid4()}"
    rows = [
        queue_transaction("mint", subject=subject, account=account, amount_wei=str(amount_wei)),
        queue_transaction("native", subject=subject, account=account, amount_wei=str(WEI_FOR_GAS)),
    ]
    return _mined(rows, timeout_seconds)


def grant_test_open(
    account: str, amount_wei: int, schedule: Schedule, *, timeout_seconds: float = 30.0
) -> str:
    """Mint OPEN and grant it to `account` by a schedule; the hash of the grant once mined."""
    _refuse_elsewhere()
    subject, vesting = f"grant:{uuid4()}", contract_addresses().vesting
    minter, amount = operator_signer().address, str(amount_wei)
    funding = [
        queue_transaction("mint", subject=subject, account=minter, amount_wei=amount),
        queue_transaction("approve", subject=subject, spender=vesting, amount_wei=amount),
    ]
    _mined(funding, timeout_seconds)
    grant = queue_transaction(
        "grant", subject=subject, beneficiary=account, amount_wei=amount, **asdict(schedule)
    )
    return _mined([grant], timeout_seconds)[0]


def _mined(rows: list[ChainTransaction], timeout_seconds: float) -> list[str]:
    """Send until all are mined; their hashes."""
    for _ in rounds(timeout_seconds):
        send_transactions()
        for row in rows:
            row.refresh_from_db()
        if all(row.state in (State.MINED, *ChainTransaction.ENDED) for row in rows):
            return [_hash_of(row) for row in rows]
    states = ", ".join(f"{row.purpose} {row.state} {row.problem}".strip() for row in rows)
    raise ReceiptTimeout(f"{rows[0].subject} was not mined in {timeout_seconds} s: {states}")


def _hash_of(row: ChainTransaction) -> str:
    if row.state == State.FAILED:
        raise DomainError(row.problem, code="transaction_failed")
    return row.transaction_hash


def _refuse_elsewhere() -> None:
    if settings.CHAIN_ID != DEVELOPMENT_CHAIN_ID:
        raise NotTheDevelopmentChain()
