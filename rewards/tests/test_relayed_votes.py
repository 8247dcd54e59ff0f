"""A vote and a claim by wallets without ETH, on a chain whose clock these tests move."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.waiting import rounds
from rewards.chain.governance import (
    delegate_call,
    proposal_id_of,
    propose_vote_call,
    set_holding_call,
)
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.models import Claim, Relay
from rewards.services import advance_epochs, close_epoch, release_earnings, send_transactions
from rewards.services.relay_checks import RelayRefused
from rewards.tests.conftest import OPEN, Wallets, settled
from rewards.tests.relaying import ask, order, poor_wallet, until_final

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def local_chain() -> Iterator[LocalChain]:
    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        yield chain


def wait(wallets: Wallets, seconds: int) -> None:
    wallets.client.request("evm_increaseTime", seconds)
    wallets.client.request("evm_mine")


def proposed(wallets: Wallets) -> int:
    """A proposal by somebody else, whose vote is open."""
    at, proposer = wallets.addresses, wallets.new(1_000)
    wallets.send(proposer, delegate_call(at.token, proposer.address))
    wait(wallets, 1)
    calls = [set_holding_call(at.parameters, 86_400)]
    wallets.send(proposer, propose_vote_call(at.governor, calls, "# A day"))
    wait(wallets, 61)
    return proposal_id_of(calls, "# A day")


def test_a_wallet_without_eth_delegates_and_votes(wallets: Wallets, consumer: User) -> None:
    key = poor_wallet(wallets, consumer, 100 * OPEN)
    order(consumer, key, "deposit", amount="10")
    until_final(wallets)
    order(consumer, key, "delegate", delegatee="")
    until_final(wallets)
    number = proposed(wallets)
    order(consumer, key, "vote", proposal=str(number), support="1")
    until_final(wallets)
    at, signature = wallets.addresses.governor, "proposalVotes(uint256)"
    kinds = ["uint256", "uint256", "uint256"]
    votes = wallets.client.read(at, signature, [number], kinds, "latest")
    assert votes == (0, 90 * OPEN, 0)
    with pytest.raises(RelayRefused, match="voted on this already"):
        ask(consumer, key, "vote", proposal=str(number), support="0")
    fees = Relay.objects.values_list("fee_wei", "cost_wei")
    assert all(fee == cost > 0 for fee, cost in fees)


def test_a_wallet_without_eth_claims_what_it_earned(
    wallets: Wallets, consumer: User, contributor: User, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 0
    payer, key = wallets.new(10), poor_wallet(wallets, contributor, 3 * OPEN)
    wallets.link(consumer, payer)
    wallets.deposit(payer, 10 * OPEN)
    order(contributor, key, "deposit", amount="2")
    until_final(wallets)
    settled(consumer, None, contributor, "a")
    release_earnings()
    epoch = close_epoch(actor=None)
    for _ in rounds(30, pause_seconds=0.01):
        advance_epochs()
        send_transactions()
        epoch.refresh_from_db()
        if epoch.state == "active":
            break
    wallets.finalize()
    order(contributor, key, "claim")
    until_final(wallets)
    paid = Claim.objects.get(state="paid")
    balance = wallets.client.balance_of(wallets.addresses.token, key.address)
    assert balance == OPEN + paid.amount_wei > OPEN
    with pytest.raises(Exception, match="nothing to claim"):
        ask(contributor, key, "claim")
