"""Where the chain is, which contracts are ours on it, and whose key signs for us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings
from django.db import connection

from openledger_site.core.errors import Unavailable
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.errors import UnsafeKey
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, development_account
from rewards.chain.transactions import Signer

# Names our advisory locks among all of the database's; any constants do.
WATCHER_LOCK = 0x0A0D18
SENDER_LOCK = 0x0A0D19
RELAY_LOCK = 0x0A0D1D
# Whose public key relays on the development chain; the first one is the operator's.
DEVELOPMENT_RELAYER = 8


class ContractsMissing(Unavailable):
    code = "contracts_missing"
    message = "The contracts are not deployed yet. Deposits and payouts start once they are."


@cache
def _client(rpc_url: str, chain_id: int, timeout_seconds: float) -> ChainClient:
    return ChainClient(rpc_url, chain_id, timeout_seconds)


def chain_client() -> ChainClient:
    """The client of the configured chain; one a process."""
    return _client(settings.CHAIN_RPC_URL, settings.CHAIN_ID, settings.CHAIN_TIMEOUT_SECONDS)


def contract_addresses() -> Addresses:
    """Our contracts. Raises `ContractsMissing` before `manage.py deploy_contracts` ran."""
    try:
        return Addresses.load(settings.CHAIN_ADDRESSES_FILE)
    except (OSError, ValueError) as problem:
        raise ContractsMissing() from problem


def deployed_addresses() -> Addresses | None:
    """As `contract_addresses`, None before deployment."""
    try:
        return contract_addresses()
    except ContractsMissing:
        return None


def operator_signer() -> Signer:
    """The key that signs anchors, funding and epochs. Raises `UnsafeKey` off the dev chain.

    Without `CHAIN_OPERATOR_KEY` it is anvil's first key, which the whole world knows.
    """
    key = settings.CHAIN_OPERATOR_KEY
    if not key and settings.CHAIN_ID != DEVELOPMENT_CHAIN_ID:
        raise UnsafeKey(
            f"Set CHAIN_OPERATOR_KEY: chain {settings.CHAIN_ID} needs a key of its own."
        )
    return Signer(key or bytes(development_account(0).key), settings.CHAIN_ID)


def relay_signer() -> Signer | None:
    """The key that sends for people whose fee is paid in OPEN; None when there is none.

    A key of its own, so that what waits here for a lower gas price holds nothing else up.
    """
    key = settings.CHAIN_RELAY_KEY
    if not key and settings.CHAIN_ID != DEVELOPMENT_CHAIN_ID:
        return None
    return Signer(key or bytes(development_account(DEVELOPMENT_RELAYER).key), settings.CHAIN_ID)


@contextmanager
def only_runner(lock: int, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock of the database session across transactions; gives False if another runs.

    The server drops it when the connection dies, so a killed process blocks nobody.
    """
    function = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [lock, settings.CHAIN_ID % 2**31])
        row = cursor.fetchone()
    held = wait or bool(row and row[0])
    try:
        yield held
    finally:
        if held:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_unlock(%s, %s)", [lock, settings.CHAIN_ID % 2**31]
                )


def stand_in_line(lock: int) -> None:
    """Wait for a lock that the transaction under way holds to its end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
