"""Deposits on a real chain: credited once, voided with their block, credited again with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from bench.nemesis.proxy import LyingNode
from openledger_site.accounts.models import User, Wallet
from rewards.chain.records import DepositEvent, LogPlace
from rewards.chain.transactions import Signer
from rewards.models import Account, ChainCursor, Claim, Deposit
from rewards.selectors import spendable_wei
from rewards.services import deposits, place_hold, settle_answer, watch_chain
from rewards.services.deposits import credit_unassigned
from rewards.services.ledger import system_account
from rewards.tests.conftest import OPEN, Wallets

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def custody_wei() -> int:
    return int(system_account(Account.Kind.CUSTODY).balance_wei)


def credit(wallets: Wallets, signer: Signer, amount_wei: int) -> None:
    wallets.deposit(signer, amount_wei)
    wallets.finalize()
    watch_chain()


def spend(consumer: User, fee_wei: int) -> None:
    hold = place_hold(consumer, fee_wei, key="a", reason="Answer")
    settle_answer(
        hold=hold,
        key="a",
        fee_wei=fee_wei,
        builder=None,
        contributor_shares=[],
        reason="Answer",
        source_url="",
    )


def test_a_final_deposit_is_credited_once(wallets: Wallets, consumer: User) -> None:
    signer = wallets.new(5)
    wallets.link(consumer, signer)
    wallets.deposit(signer, 3 * OPEN)
    watch_chain()
    assert spendable_wei(consumer) == 0  # mined, not final
    wallets.finalize()
    watch_chain()
    watch_chain()
    assert (spendable_wei(consumer), custody_wei()) == (3 * OPEN, -3 * OPEN)


def test_a_range_read_twice_credits_once(wallets: Wallets, consumer: User) -> None:
    signer = wallets.new(5)
    wallets.link(consumer, signer)
    credit(wallets, signer, OPEN)
    ChainCursor.objects.update(block_number=0, block_hash="")  # a crash before the cursor moved
    watch_chain()
    assert spendable_wei(consumer) == OPEN


def test_a_deposit_of_an_unlinked_wallet_waits_for_its_owner(
    wallets: Wallets, consumer: User
) -> None:
    signer = wallets.new(5)
    credit(wallets, signer, OPEN)
    assert system_account(Account.Kind.UNASSIGNED).balance_wei == OPEN
    wallets.link(consumer, signer)
    watch_chain()
    assert spendable_wei(consumer) == OPEN
    assert system_account(Account.Kind.UNASSIGNED).balance_wei == 0


def test_a_reorganisation_voids_and_credits_again(wallets: Wallets, consumer: User) -> None:
    signer = wallets.new(5)
    wallets.link(consumer, signer)
    before = wallets.client.latest_block().number
    credit(wallets, signer, OPEN)
    depth = wallets.client.latest_block().number - before
    wallets.client.request("anvil_reorg", depth, [])
    wallets.finalize()
    watch_chain()
    assert spendable_wei(consumer) == 0
    credit(wallets, signer, OPEN)
    assert spendable_wei(consumer) == OPEN
    assert set(Deposit.objects.values_list("state", flat=True)) == {"voided", "credited"}


def test_a_node_that_takes_an_older_block_away_and_leaves_a_later_one_loses_no_deposit(
    wallets: Wallets, consumer: User, settings: Settings
) -> None:
    """As `bench faults` found: reading went on after the later event, and the older was missed."""
    signer = wallets.new(5)
    wallets.link(consumer, signer)
    credit(wallets, signer, OPEN)
    wallets.finalize()
    watch_chain()
    later = ChainCursor.objects.get()
    assert later.block_number > Deposit.objects.get().block_number
    Claim.objects.create(
        chain_id=later.chain_id, transaction_hash="0x" + "2" * 64, log_index=0,
        block_number=later.block_number, block_hash=later.block_hash, address=signer.address,
        amount_wei=1, state=Claim.State.UNKNOWN, cumulative_wei=1, root="0x" + "3" * 64,
    )  # fmt: skip
    wrong = iter(range(2))  # of the cursor's block and of the deposit's

    def of_two_nodes(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found = honest()
        by_number = asked["method"] == "eth_getBlockByNumber" and asked["params"][0] != "finalized"
        if by_number and next(wrong, None) is not None:
            found["result"]["hash"] = "0x" + "0" * 64
        return found

    node = LyingNode(settings.CHAIN_RPC_URL)
    node.lie, settings.CHAIN_RPC_URL = of_two_nodes, node.url
    try:
        watch_chain()
    finally:
        node.stop()
    assert next(wrong, None) is None
    deposit = Deposit.objects.get()
    assert (deposit.state, deposit.applications) == (Deposit.State.CREDITED, 2)
    assert (spendable_wei(consumer), custody_wei()) == (OPEN, -OPEN)


def owing(wallets: Wallets, consumer: User, amount_open: int) -> Signer:
    """A wallet with so many OPEN, one of which was deposited and spent before its block left the
    chain."""
    signer = wallets.new(amount_open)
    wallets.link(consumer, signer)
    snapshot = wallets.client.request("evm_snapshot")
    credit(wallets, signer, OPEN)
    spend(consumer, OPEN)
    wallets.client.request("evm_revert", snapshot)  # as after a kill -9: the chain is behind
    wallets.finalize()
    watch_chain()
    return signer


def test_a_voided_deposit_that_was_spent_is_owed_until_it_comes_back(
    wallets: Wallets, consumer: User
) -> None:
    signer = owing(wallets, consumer, 5)
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == -OPEN
    credit(wallets, signer, 2 * OPEN)
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == 0
    assert (spendable_wei(consumer), custody_wei()) == (OPEN, -2 * OPEN)


def test_a_voided_deposit_leaves_what_an_answer_has_reserved(
    wallets: Wallets, consumer: User
) -> None:
    signer = wallets.new(5)
    wallets.link(consumer, signer)
    snapshot = wallets.client.request("evm_snapshot")
    credit(wallets, signer, OPEN)
    hold = place_hold(consumer, OPEN // 4, key="a", reason="Answer")
    wallets.client.request("evm_revert", snapshot)
    wallets.finalize()
    watch_chain()
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == -(OPEN // 4)
    assert spendable_wei(consumer) == 0
    hold.account.refresh_from_db()
    assert (hold.account.balance_wei, hold.account.held_wei) == (OPEN // 4, OPEN // 4)


def test_a_debt_is_paid_back_once(wallets: Wallets, consumer: User) -> None:
    signer = owing(wallets, consumer, 9)
    for _ in range(2):
        credit(wallets, signer, 2 * OPEN)
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == 0
    assert spendable_wei(consumer) == 3 * OPEN


def test_a_debt_is_paid_back_by_a_deposit_that_waited_for_its_owner(
    wallets: Wallets, consumer: User
) -> None:
    signer = owing(wallets, consumer, 9)
    Wallet.objects.update(unlinked_at=Now())
    credit(wallets, signer, 2 * OPEN)
    Wallet.objects.update(unlinked_at=None)
    watch_chain()
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == 0
    assert spendable_wei(consumer) == OPEN


def two_that_vanished(consumer: User, spent_wei: int) -> list[DepositEvent]:
    """Deposits of one OPEN each, of which so much was spent before their blocks left the chain."""
    Wallet.objects.create(user=consumer, address=ADDRESS, chain_id=31337)
    made = [deposited(log_index) for log_index in (1, 2)]
    come(*made)
    spend(consumer, spent_wei)
    vanish(*reversed(made))
    return made


def test_a_deposit_that_paid_for_another_and_vanishes_again_owes_both(
    consumer: User,
) -> None:
    """As with several nodes behind one address, which take blocks away and give them back."""
    first, second = two_that_vanished(consumer, spent_wei=2 * OPEN)
    come(first)
    vanish(first)
    come(first, second)
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == 0
    assert (spendable_wei(consumer), custody_wei()) == (0, -2 * OPEN)


def test_two_that_vanished_and_waited_for_their_owner_pay_what_they_owe_once(
    consumer: User,
) -> None:
    """The first pays some of what the second owes; that is then not owed a second time."""
    first, second = two_that_vanished(consumer, spent_wei=3 * OPEN // 2)
    Wallet.objects.update(unlinked_at=Now())
    come(first, second)
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == -3 * OPEN // 2
    Wallet.objects.update(unlinked_at=None)
    credit_unassigned(ADDRESS)
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == 0
    assert not Deposit.objects.filter(debt_wei__gt=0).exists()
    assert (spendable_wei(consumer), custody_wei()) == (OPEN // 2, -2 * OPEN)


def test_what_arrives_for_a_closed_account_waits(consumer: User) -> None:
    """A wallet that was linked while the account was being closed: nobody could spend it there."""
    Wallet.objects.create(user=consumer, address=ADDRESS, chain_id=31337)
    User.objects.filter(pk=consumer.pk).update(is_active=False)
    come(deposited(1))
    credit_unassigned(ADDRESS)
    assert spendable_wei(consumer) == 0
    assert Deposit.objects.get().state == "unassigned"


ADDRESS = "0x" + "1" * 40


def deposited(log_index: int) -> DepositEvent:
    place = LogPlace(7, "0x" + "3" * 64, "0x" + "2" * 64, log_index)
    return DepositEvent(ADDRESS, OPEN, log_index, place)


def come(*events: DepositEvent) -> None:
    with transaction.atomic():
        assert all(deposits._credit(event, 31337) for event in events)


def vanish(*events: DepositEvent) -> None:
    with transaction.atomic():
        for event in events:
            deposits.void_deposit(Deposit.objects.get(log_index=event.place.log_index))
