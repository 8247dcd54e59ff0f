"""Money to test with: funded people, and a real chain with the contracts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from eth_account import Account as KeyAccount
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.waiting import rounds
from rewards.chain.calls import ContractCall, approve_call, deposit_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, send_and_wait
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.chain.records import Receipt
from rewards.chain.transactions import Signer
from rewards.models import Account, Settlement
from rewards.selectors import ClaimArguments
from rewards.services import place_hold, settle_answer
from rewards.services.deployment import deploy_contracts
from rewards.services.dev_chain import give_test_open
from rewards.services.ledger import post, system_account, user_account
from rewards.tests.undo import undone

OPEN = 10**18
Fund = Callable[[User, int], None]


@pytest.fixture
def fund() -> Fund:
    """Give a person wei to spend, as a deposit would."""
    count = iter(range(1_000_000))

    def give(user: User, amount_wei: int) -> None:
        post(
            key=f"test:fund:{user.pk}:{next(count)}",
            kind="deposit",
            legs=[
                (system_account(Account.Kind.CUSTODY), -amount_wei),
                (user_account(user, Account.Kind.SPENDABLE), amount_wei),
            ],
            reason="Deposit",
        )

    return give


def settled(
    payer: User, builder: User | None, contributor: User, key: str, **changes: Any
) -> Settlement:
    """An answer for one OPEN from a contributor's rows, paid; `changes` of `settle_answer`."""
    terms: dict[str, Any] = {
        "fee_wei": OPEN,
        "builder": builder,
        "contributor_shares": [(contributor.pk, 1)],
        "reason": "Answer",
        "source_url": "/receipts/1/",
    }
    hold = place_hold(payer, OPEN, key=key, reason="Answer")
    return settle_answer(hold=hold, key=key, **terms | changes)


def until_somebody_waits() -> None:
    """Until a statement of another connection waits for a lock of ours."""
    for _ in rounds(30, pause_seconds=0.01):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("Nobody waits.")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@dataclass
class Wallets:
    """Wallets of people on the test's chain, each with a key of its own."""

    chain: LocalChain
    client: ChainClient
    addresses: Addresses

    def new(self, amount_open: int = 0) -> Signer:
        signer = Signer(KeyAccount.create().key, DEVELOPMENT_CHAIN_ID)
        give_test_open(signer.address, amount_open * OPEN + 1)
        return signer

    def link(self, user: User, signer: Signer) -> None:
        Wallet.objects.create(user=user, address=signer.address, chain_id=DEVELOPMENT_CHAIN_ID)

    def send(self, signer: Signer, call: ContractCall) -> Receipt:
        return send_and_wait(self.client, signer, call)

    def deposit(self, signer: Signer, amount_wei: int) -> Receipt:
        token, escrow = self.addresses.token, self.addresses.escrow
        self.send(signer, approve_call(token, escrow, amount_wei))
        return self.send(signer, deposit_call(escrow, amount_wei))

    def claim(self, signer: Signer, claim: ClaimArguments) -> Receipt:
        return self.send(signer, claim.call())

    def finalize(self) -> None:
        self.chain.mine(3)


@pytest.fixture(scope="session")
def local_chain() -> Iterator[LocalChain]:
    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        yield chain


@pytest.fixture
def wallets(local_chain: LocalChain, settings: Settings, tmp_path: Path) -> Iterator[Wallets]:
    """The contracts, freshly deployed; whatever the test does to the chain is undone after it."""
    settings.CHAIN_RPC_URL = local_chain.url
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.EPOCH_CHALLENGE_SECONDS = 1
    client = ChainClient(local_chain.url, DEVELOPMENT_CHAIN_ID)
    with undone(client):
        addresses, _ = deploy_contracts()
        yield Wallets(local_chain, client, addresses)
