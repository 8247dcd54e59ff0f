"""A whole epoch on a real chain: earned, closed, funded, proposed, active, claimed, reconciled."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.audit import _LOCK as AUDIT_LOCK
from openledger_site.core.waiting import rounds
from rewards.chain.calls import activate_call, transfer_native_call
from rewards.chain.transactions import Signer
from rewards.models import ChainTransaction, Deposit, Epoch, PayoutFreeze
from rewards.selectors import claims_open_for, earnings_summary
from rewards.services import (
    advance_epochs,
    anchor_root,
    close_epoch,
    reconcile,
    register_reconcile_check,
    release_earnings,
    send_transactions,
    sender,
    watch_chain,
)
from rewards.services.chain import RELAY_LOCK, SENDER_LOCK, WATCHER_LOCK, operator_signer
from rewards.services.closings import CLOSING_LOCK
from rewards.services.epochs import EpochUnderWay, NothingToPay, PayoutsFrozen
from rewards.services.parameters import EPOCH_LOCK
from rewards.services.reconcile import _more_checks
from rewards.services.sender import STUCK_SECONDS, queue_transaction
from rewards.services.stake_income import INCOME_LOCK
from rewards.tests.conftest import OPEN, Wallets, settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def _no_holding(settings: Settings) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 0


def pay_answer(consumer: User, builder: User, contributor: User, key: str) -> None:
    settled(consumer, builder, contributor, key, fee_wei=OPEN // 2)
    release_earnings()


def until_active(wallets: Wallets, epoch: Epoch) -> None:
    for _ in rounds(30, pause_seconds=0.01):
        if epoch.state in ("active", "failed"):
            break
        advance_epochs()
        send_transactions()
        epoch.refresh_from_db()
    assert epoch.state == "active", epoch.problem


@pytest.fixture
def funded(wallets: Wallets, consumer: User) -> Wallets:
    signer = wallets.new(10)
    wallets.link(consumer, signer)
    wallets.deposit(signer, 10 * OPEN)
    wallets.finalize()
    watch_chain()
    return wallets


def test_two_epochs_are_claimed_and_the_books_are_clean(
    funded: Wallets, consumer: User, builder: User, contributor: User
) -> None:
    signer = funded.new()
    funded.link(contributor, signer)
    for number in (1, 2):
        pay_answer(consumer, builder, contributor, f"answer-{number}")
        until_active(funded, close_epoch(actor=None))
        (claim,) = claims_open_for(contributor)
        assert claim.amount_wei == OPEN // 2 * 70 // 100
        funded.claim(signer, claim)
        funded.finalize()
        watch_chain()
        assert earnings_summary(contributor).claimable_wei == 0
    in_wallet = funded.client.balance_of(funded.addresses.token, signer.address)
    assert in_wallet - 1 == earnings_summary(contributor).claimed_wei == OPEN * 70 // 100
    assert earnings_summary(builder).payable_wei == OPEN * 20 // 100  # no wallet yet
    assert reconcile().ok


def test_an_epoch_waits_for_a_chain_whose_clock_is_behind(
    funded: Wallets, consumer: User, builder: User, contributor: User
) -> None:
    snapshot = funded.client.request("evm_snapshot")
    time.sleep(3)  # a reverted anvil goes on with the clock of its snapshot
    funded.client.request("evm_revert", snapshot)
    signer = funded.new()
    funded.link(contributor, signer)
    pay_answer(consumer, builder, contributor, "answer")
    until_active(funded, close_epoch(actor=None))
    (claim,) = claims_open_for(contributor)
    assert funded.claim(signer, claim).is_success


def test_a_reverted_transaction_never_counts_as_done(
    wallets: Wallets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(wallets.client), "estimate_gas", lambda *_: 100_000)
    row = queue_transaction("activate", subject="epoch:9", root="0x" + "11" * 32)
    states = []
    for _ in range(4):
        send_transactions()
        row.refresh_from_db()
        states.append(row.state)
        wallets.chain.mine(1)
    assert states[0] == states[1] == "sent"
    assert states[-1] == "failed"


def test_an_epoch_waits_for_the_one_before_and_for_something_to_pay(
    funded: Wallets, consumer: User, builder: User, contributor: User
) -> None:
    with pytest.raises(NothingToPay):
        close_epoch(actor=None)
    funded.link(contributor, funded.new())
    pay_answer(consumer, builder, contributor, "answer")
    close_epoch(actor=None)
    with pytest.raises(EpochUnderWay):
        close_epoch(actor=None)


def test_a_planted_wei_is_found_and_freezes_payouts(funded: Wallets, consumer: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rewards_account DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE rewards_account SET balance_wei = balance_wei + 1 WHERE kind = 'spendable'"
        )
        cursor.execute("ALTER TABLE rewards_account ENABLE TRIGGER USER")
    report = reconcile()
    assert (report.ok, report.unexplained_wei) == (False, 1)
    assert report.problems["I2"]
    assert PayoutFreeze.objects.count() == 1
    with pytest.raises(PayoutsFrozen):
        close_epoch(actor=None)


def test_a_claim_or_deposit_the_books_do_not_have_is_found(funded: Wallets) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rewards_deposit DISABLE TRIGGER USER")
        cursor.execute("UPDATE rewards_deposit SET amount_wei = amount_wei - 7")
        cursor.execute("ALTER TABLE rewards_deposit ENABLE TRIGGER USER")
    assert any("deposit" in problem for problem in reconcile().problems["I4"])


def test_a_deposit_of_the_books_that_no_block_has_is_found(funded: Wallets) -> None:
    forged = Deposit.objects.get()
    forged.pk, forged.log_index = None, forged.log_index + 1
    forged.save()
    assert [problem for problem in reconcile().problems["I4"] if problem.startswith("deposit")]


def test_without_the_chain_reconcile_says_so_and_freezes_nothing(
    funded: Wallets, settings: Settings
) -> None:
    settings.CHAIN_RPC_URL = "http://127.0.0.1:9"
    report = reconcile()
    assert (report.ok, report.reason) == (False, "chain_unavailable")
    assert not PayoutFreeze.objects.exists()


def test_a_check_of_an_app_above_counts(funded: Wallets) -> None:
    register_reconcile_check("receipts", lambda: ["receipt 7 is missing"])
    try:
        assert not reconcile().ok
    finally:
        del _more_checks["receipts"]


def test_an_anchor_is_sent_once_and_becomes_final(wallets: Wallets) -> None:
    anchor = anchor_root(subject="version:1", root=b"\1" * 32, count=3)
    assert anchor_root(subject="version:1", root=b"\1" * 32, count=3) == anchor
    send_transactions()
    wallets.finalize()
    send_transactions()
    anchor.chain_transaction.refresh_from_db()
    assert (anchor.state, ChainTransaction.objects.filter(purpose="anchor").count()) == ("final", 1)
    assert anchor.tx_hash.startswith("0x")


def test_transactions_the_chain_lost_are_sent_again_with_the_same_bytes(wallets: Wallets) -> None:
    snapshot = wallets.client.request("evm_snapshot")
    anchor = anchor_root(subject="version:1", root=b"\1" * 32, count=3)
    send_transactions()
    wallets.finalize()
    send_transactions()
    first_hash = ChainTransaction.objects.get(pk=anchor.chain_transaction_id).transaction_hash
    wallets.client.request("evm_revert", snapshot)
    send_transactions()
    receipt = wallets.client.receipt(first_hash)
    assert receipt is not None
    assert receipt.is_success


def test_a_stuck_transaction_is_replaced_with_higher_fees_and_mined_once(wallets: Wallets) -> None:
    wallets.client.request("evm_setAutomine", False)
    try:
        anchor = anchor_root(subject="version:1", root=b"\1" * 32, count=3)
        send_transactions()
        row = ChainTransaction.objects.get(pk=anchor.chain_transaction_id)
        ChainTransaction.objects.update(sent_at=Now() - timedelta(seconds=STUCK_SECONDS + 1))
        send_transactions()
    finally:
        wallets.client.request("evm_setAutomine", True)
    wallets.finalize()
    send_transactions()
    replaced = ChainTransaction.objects.get(pk=row.pk)
    assert replaced.earlier_hashes == [row.transaction_hash]
    assert (replaced.nonce, replaced.state) == (row.nonce, "final")
    assert wallets.client.receipt(row.transaction_hash) is None


def test_one_that_fees_overtook_before_it_was_sent_gets_higher_ones(
    wallets: Wallets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed, then the sender was down: a node that does not take it would hold up all after it."""
    anchor = anchor_root(subject="version:1", root=b"\1" * 32, count=3)
    with monkeypatch.context() as down:
        down.setattr(sender, "_broadcast", lambda client, row: None)
        send_transactions()
    wallets.client.request("anvil_setNextBlockBaseFeePerGas", hex(10**12))
    wallets.finalize()
    for _ in range(2):
        send_transactions()
        wallets.finalize()
    send_transactions()
    row = ChainTransaction.objects.get(pk=anchor.chain_transaction_id)
    assert (row.state, len(row.earlier_hashes)) == ("final", 1)


def test_a_refused_transaction_fails_with_the_contracts_reason(wallets: Wallets) -> None:
    queue_transaction("activate", subject="epoch:9", root="0x" + "1" * 64)
    row = queue_transaction("fund", subject="epoch:9", amount_wei=str(OPEN))
    send_transactions()
    row.refresh_from_db()
    assert row.state == "failed"
    assert "ERC20InsufficientBalance" in row.problem
    assert row.nonce is None  # nothing was signed, so no gap is left


def test_ten_senders_at_once_use_each_nonce_once(wallets: Wallets) -> None:
    for count in range(1, 11):
        anchor_root(subject="version:1", root=bytes([count]) * 32, count=count)

    def send(_: int) -> None:
        send_transactions()
        connection.close()

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(send, range(10)))
    wallets.finalize()
    send_transactions()
    rows = ChainTransaction.objects.filter(purpose="anchor")
    assert set(rows.values_list("state", flat=True)) == {"final"}
    assert len(set(rows.values_list("nonce", flat=True))) == 10


def test_a_nonce_that_another_program_used_is_replaced_by_a_new_one(wallets: Wallets) -> None:
    snapshot = wallets.client.request("evm_snapshot")
    anchor = anchor_root(subject="version:1", root=b"\1" * 32, count=3)
    send_transactions()
    wallets.client.request("evm_revert", snapshot)
    wallets.send(operator_signer(), transfer_native_call(operator_signer().address, 0))
    wallets.finalize()
    for _ in range(2):
        send_transactions()
        wallets.finalize()
    send_transactions()
    row = ChainTransaction.objects.get(pk=anchor.chain_transaction_id)
    assert (row.state, len(row.earlier_hashes)) == ("final", 1)


def test_an_epoch_that_closes_keeps_nothing_else_waiting() -> None:
    """Closing one of a million people takes a minute: its lock is its own."""
    others = {AUDIT_LOCK, WATCHER_LOCK, SENDER_LOCK, RELAY_LOCK, INCOME_LOCK, CLOSING_LOCK}
    assert len(others) == 6
    assert EPOCH_LOCK not in others


def proposed(
    wallets: Wallets, consumer: User, builder: User, contributor: User
) -> tuple[Epoch, Signer]:
    """An epoch that pays the contributor's wallet, and whose root may be activated."""
    signer = wallets.new()
    wallets.link(contributor, signer)
    pay_answer(consumer, builder, contributor, "answer")
    epoch = close_epoch(actor=None)
    for _ in rounds(30, pause_seconds=0.01):
        if epoch.state == "proposed":
            break
        advance_epochs()
        send_transactions()
        epoch.refresh_from_db()
    wallets.client.request("evm_increaseTime", 3)
    wallets.chain.mine(1)
    return epoch, signer


def refuse_activation(epoch: Epoch, **said: str) -> None:
    """Our transaction fails before any block holds it, and the site goes on."""
    Epoch.objects.update(activatable_at=Now())
    advance_epochs()
    ours = ChainTransaction.objects.filter(purpose="activate")
    assert ours.update(state="failed", **said) == 1
    advance_epochs()
    epoch.refresh_from_db()


def test_a_root_that_somebody_else_is_about_to_activate_is_waited_for(
    funded: Wallets, consumer: User, builder: User, contributor: User
) -> None:
    """A node that knows of their call refuses ours before theirs is in a block."""
    epoch, signer = proposed(funded, consumer, builder, contributor)
    refuse_activation(epoch, problem="AlreadyActive")
    assert epoch.state == "proposed"
    funded.send(signer, activate_call(epoch.distributor, bytes.fromhex(epoch.root[2:])))
    advance_epochs()
    epoch.refresh_from_db()
    assert epoch.state == "active"


def test_a_root_that_is_refused_for_good_has_failed(
    funded: Wallets, consumer: User, builder: User, contributor: User
) -> None:
    epoch, _ = proposed(funded, consumer, builder, contributor)
    refuse_activation(epoch, problem="Refused", created_at="2020-01-01T00:00Z")
    assert (epoch.state, epoch.problem) == ("failed", "Refused")


def test_a_root_that_somebody_else_activates_counts_all_the_same(
    funded: Wallets, consumer: User, builder: User, contributor: User
) -> None:
    """Anybody may: the contract asks only that the challenge delay is over."""
    epoch, signer = proposed(funded, consumer, builder, contributor)
    funded.send(signer, activate_call(epoch.distributor, bytes.fromhex(epoch.root[2:])))
    until_active(funded, epoch)
    (claim,) = claims_open_for(contributor)
    funded.claim(signer, claim)
    funded.finalize()
    watch_chain()
    assert earnings_summary(contributor).claimed_wei == OPEN // 2 * 70 // 100
    assert reconcile().ok
