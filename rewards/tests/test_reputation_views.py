"""Reputation on pages, and its token on a real chain."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.waiting import rounds
from rewards.chain.calls import encode_call
from rewards.chain.errors import CallReverted
from rewards.chain.reputation import burn_reputation_call, read_reputation
from rewards.models import ChainTransaction, Reputation, ReputationIssue, SlashCase
from rewards.services import (
    issue_reputation,
    measure_reputations,
    send_transactions,
    take_back_reputations,
)
from rewards.services.reputation import NotIssuable
from rewards.tests.conftest import OPEN, Fund, Wallets, settled, signed_in

PAGE = "/rewards/reputation/"


@pytest.fixture
def earned(contributor: User, consumer: User, builder: User, fund: Fund) -> Reputation:
    """Carla's reputation after one paid answer."""
    fund(consumer, OPEN)
    settled(consumer, builder, contributor, "a")
    measure_reputations()
    return Reputation.objects.get(user=contributor)


@pytest.mark.django_db
def test_ones_own_page_says_what_the_number_rests_on(earned: Reputation, reviewer: User) -> None:
    SlashCase.objects.create(
        chain_id=1, target="0x" + "11" * 32, subject="datanet:1", amount_wei=1,
        decision="Copied rows.", evidence="0x" + "22" * 32, owner=earned.user,
        state=SlashCase.State.EXECUTED, decided_by=reviewer,
    )  # fmt: skip
    page = signed_in(earned.user).get(PAGE).content.decode()
    assert "1 person other than you" in " ".join(page.split())
    assert "Copied rows." in page
    document = signed_in(earned.user).get("/rewards/reputation.json").json()
    assert document["score"] < earned.score  # the slash is not measured by the clock yet
    assert len(document["paid_to_the_platform_wei_by_payer"]) == 1


@pytest.mark.django_db
def test_who_has_none_reads_what_to_do(stranger: User) -> None:
    page = signed_in(stranger).get(PAGE).content.decode()
    assert "No voice yet" in page
    assert "Write " not in page
    assert Client().get(PAGE).status_code == 302


@pytest.mark.django_db
def test_everybody_sees_a_number_and_nobody_learns_who_paid(
    earned: Reputation, consumer: User, stranger: User
) -> None:
    page = Client().get(f"/rewards/people/{earned.user.public_id}/").content.decode()
    assert str(earned.score) in page
    assert earned.user.name in page
    assert consumer.name not in page
    assert str(consumer.public_id) not in page
    assert Client().get(f"/rewards/people/{stranger.public_id}/").status_code == 404


@pytest.mark.django_db
def test_a_reputation_is_written_to_ones_own_wallet_only(
    earned: Reputation, wallets: Wallets, stranger: User
) -> None:
    other = Wallet.objects.create(user=stranger, address="0x" + "77" * 20, chain_id=31337)
    with pytest.raises(NotIssuable, match="linked to your account"):
        issue_reputation(earned.user, other.address)
    with pytest.raises(NotIssuable, match="no reputation"):
        issue_reputation(stranger, other.address)
    answer = signed_in(stranger).post("/rewards/reputation/write/", {"address": other.address})
    assert answer.status_code == 409
    assert not ReputationIssue.objects.exists()


def bring_on_chain(wallets: Wallets) -> None:
    """The chain's clock may run seconds behind the database's: then the writing waits."""
    for _ in rounds(30):
        send_transactions()
        wallets.finalize()
        if not ChainTransaction.objects.exclude(state__in=ChainTransaction.ENDED).exists():
            return
    raise AssertionError("the chain did not take it")


@pytest.mark.django_db(transaction=True)
def test_the_token_holds_the_number_and_cannot_be_moved(
    earned: Reputation, wallets: Wallets
) -> None:
    signer = wallets.new(1)
    wallets.link(earned.user, signer)
    form = {"address": signer.address, "idempotency_key": "7d1a4a4e-93ba-4c55-9f20-18f2a3b2f5aa"}
    client = signed_in(earned.user)
    for _ in range(2):  # pressed twice
        assert client.post("/rewards/reputation/write/", form).status_code == 302
    issue = ReputationIssue.objects.get()
    bring_on_chain(wallets)
    issue.chain_transaction.refresh_from_db()
    assert (issue.chain_transaction.state, issue.chain_transaction.problem) == ("final", "")
    token = wallets.addresses.reputation
    found = read_reputation(wallets.client, token, signer.address)
    assert (found.score, found.formula) == (earned.score, earned.formula)
    move = "transferFrom(address,address,uint256)"
    call = encode_call(token, move, signer.address, "0x" + "5" * 40, int(signer.address, 16))
    with pytest.raises(CallReverted, match="Soulbound"):
        wallets.client.estimate_gas(signer.address, call)
    assert "Final" in client.get("/rewards/reputation/token/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_it_is_written_once_a_day_and_a_failed_writing_may_be_made_again(
    earned: Reputation, wallets: Wallets, settings: Settings
) -> None:
    signer = wallets.new(1)
    wallets.link(earned.user, signer)
    issue = issue_reputation(earned.user, signer.address)
    with pytest.raises(NotIssuable, match="on its way"):
        issue_reputation(earned.user, signer.address)
    bring_on_chain(wallets)
    measure_reputations()
    with pytest.raises(NotIssuable, match="tomorrow"):
        issue_reputation(earned.user, signer.address)
    ChainTransaction.objects.filter(pk=issue.chain_transaction_id).update(state="failed")
    issue_reputation(earned.user, signer.address)


@pytest.mark.django_db(transaction=True)
def test_a_wallet_that_is_no_longer_linked_loses_its_token(
    earned: Reputation, wallets: Wallets
) -> None:
    signer = wallets.new(1)
    wallets.link(earned.user, signer)
    issue_reputation(earned.user, signer.address)
    assert take_back_reputations() == 0
    bring_on_chain(wallets)
    Wallet.objects.filter(user=earned.user).delete()
    assert take_back_reputations() == 1
    assert take_back_reputations() == 0
    bring_on_chain(wallets)
    assert read_reputation(wallets.client, wallets.addresses.reputation, signer.address).score == 0


@pytest.mark.django_db(transaction=True)
def test_a_holder_may_burn_the_token(earned: Reputation, wallets: Wallets) -> None:
    signer = wallets.new(1)
    wallets.link(earned.user, signer)
    issue_reputation(earned.user, signer.address)
    bring_on_chain(wallets)
    token = wallets.addresses.reputation
    wallets.send(signer, burn_reputation_call(token, signer.address))
    assert read_reputation(wallets.client, token, signer.address).score == 0
