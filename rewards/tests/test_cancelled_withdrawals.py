"""A withdrawal is cancelled or sent, never both, whoever is first and whoever dies on the way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.models import AuditEntry
from rewards.chain.calls import renounce_role_call, withdraw_call
from rewards.chain.transactions import Signer
from rewards.models import ChainTransaction, PayoutFreeze, Transaction, Withdrawal
from rewards.selectors import spendable_wei, statement_of
from rewards.selectors.withdrawals import progress_of
from rewards.services import (
    reconcile,
    return_refused_withdrawals,
    send_transactions,
    sender,
    watch_chain,
)
from rewards.services.chain import operator_signer
from rewards.services.sender import CALLS, queue_transaction
from rewards.services.withdrawals import (
    TooLateToCancel,
    TooManyWithdrawals,
    ask_withdrawal,
    cancel_withdrawal,
)
from rewards.tests.conftest import OPEN, Wallets
from rewards.tests.withdrawing import (
    books_match,
    funded_wallet,
    killed_at,
    on_its_way,
    open_of,
    settle,
    switch,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
AMOUNT = 2 * OPEN + 7


@pytest.fixture
def wallet(wallets: Wallets, consumer: User) -> Signer:
    """Quinn's, with three OPEN deposited from it."""
    return funded_wallet(wallets, consumer)


@pytest.fixture
def withdrawal(wallet: Signer, consumer: User) -> Withdrawal:
    """Asked for, and in the queue."""
    return ask_withdrawal(user=consumer, address=wallet.address, amount_wei=AMOUNT)


def cancel(withdrawal: Withdrawal) -> Withdrawal:
    return cancel_withdrawal(withdrawal=withdrawal, actor=withdrawal.user)


def state_of(withdrawal: Withdrawal) -> tuple[str, str]:
    """Of the withdrawal and of its transaction."""
    row = Withdrawal.objects.select_related("chain_transaction").get(pk=withdrawal.pk)
    return row.state, row.chain_transaction.state


def pay_by_hand(wallets: Wallets, withdrawal: Withdrawal) -> None:
    """As a try of which a restored database knows nothing."""
    identifier, amount = bytes.fromhex(withdrawal.escrow_id[2:]), int(withdrawal.amount_wei)
    call = withdraw_call(wallets.addresses.escrow, withdrawal.address, amount, identifier)
    wallets.send(operator_signer(), call)


def test_what_is_not_signed_comes_back_at_once_and_is_never_sent(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User
) -> None:
    before = open_of(wallets, withdrawal.address)
    assert cancel(withdrawal).ended_at
    assert state_of(withdrawal) == ("cancelled", "cancelled")
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN, 0)
    settle(wallets)
    assert state_of(withdrawal) == ("cancelled", "cancelled")
    assert open_of(wallets, withdrawal.address) == before
    assert books_match(wallets)


def test_the_statement_and_the_audit_log_say_so(withdrawal: Withdrawal, consumer: User) -> None:
    cancelled = cancel(withdrawal)
    back, out = statement_of(consumer)[:2]
    assert back.transaction == cancelled.returned_by
    assert (back.amount_wei, back.amount_wei + out.amount_wei) == (AMOUNT, 0)
    assert back.transaction.reason == "Withdrawal cancelled: back on your balance"
    assert str(withdrawal.public_id) in back.transaction.source_url
    assert "Cancelled" in progress_of(cancelled).words
    entry = AuditEntry.objects.get(action="withdrawal.cancel")
    assert entry.actor == f"user:{consumer.pk}"
    assert entry.subject == f"withdrawal:{withdrawal.public_id}"


def test_one_that_frozen_payouts_or_a_paused_escrow_hold_back_is_cancelled(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    switch(wallets, "pause")
    paused = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    send_transactions()
    cancel(paused)
    switch(wallets, "unpause")
    frozen = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    freeze = PayoutFreeze.objects.create(reason="Looked into.")
    send_transactions()
    cancel(frozen)
    freeze.delete()
    settle(wallets)
    assert {state_of(row) for row in (paused, frozen)} == {("cancelled", "cancelled")}
    assert spendable_wei(consumer) == 3 * OPEN
    assert books_match(wallets)


def test_no_chain_has_to_answer(withdrawal: Withdrawal, consumer: User, settings: Settings) -> None:
    settings.CHAIN_RPC_URL = "http://127.0.0.1:1"
    cancel(withdrawal)
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN, 0)


def test_twice_and_eight_at_once_are_one(withdrawal: Withdrawal, consumer: User) -> None:
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(apart(cancel), [withdrawal] * 8))
    ended.append(cancel(withdrawal))
    assert {row.returned_by_id for row in ended} == {cancel(withdrawal).returned_by_id}
    assert spendable_wei(consumer) == 3 * OPEN
    assert Transaction.objects.filter(kind="withdrawal_cancel").count() == 1


def test_it_counts_as_one_of_the_day_and_the_next_is_paid(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User, settings: Settings
) -> None:
    settings.WITHDRAWALS_PER_DAY = 2
    cancel(withdrawal)
    again = ask_withdrawal(user=consumer, address=withdrawal.address, amount_wei=3 * OPEN)
    settle(wallets)
    assert state_of(again)[0] == "paid"
    assert books_match(wallets)
    with pytest.raises(TooManyWithdrawals):
        ask_withdrawal(user=consumer, address=withdrawal.address, amount_wei=OPEN)


# Too late


def sign_without_sending(wallets: Wallets) -> None:
    operator = operator_signer().address
    had = wallets.client.native_balance_of(operator)
    wallets.client.request("anvil_setBalance", operator, "0x0")
    send_transactions()
    wallets.client.request("anvil_setBalance", operator, hex(had))


def test_from_its_signature_on_it_is_too_late(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User
) -> None:
    sign_without_sending(wallets)
    for state in (("waiting", "signed"), ("waiting", "sent"), ("paid", "final")):
        assert state_of(withdrawal) == state
        withdrawal.refresh_from_db()
        with pytest.raises(TooLateToCancel):
            cancel(withdrawal)
        send_transactions() if state[1] == "signed" else settle(wallets)
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN - AMOUNT, 0)
    assert books_match(wallets)


def test_one_that_had_bytes_before_it_was_queued_again_is_not_cancelled(
    wallets: Wallets, withdrawal: Withdrawal
) -> None:
    """Another program used our nonce; a chain that goes back could use ours after all."""
    sign_without_sending(wallets)
    sender._queue_again(ChainTransaction.objects.get(purpose="withdraw"))
    withdrawal.refresh_from_db()
    assert not withdrawal.can_be_cancelled
    assert_too_late_in_the_books(withdrawal)


def test_one_that_the_chain_once_called_done_is_not_cancelled(
    wallets: Wallets, withdrawal: Withdrawal
) -> None:
    """A try that a restored database has forgotten was mined, and its block has left since."""
    snapshot = wallets.client.request("evm_snapshot")
    pay_by_hand(wallets, withdrawal)
    send_transactions()
    wallets.client.request("evm_revert", snapshot)
    return_refused_withdrawals()
    withdrawal.refresh_from_db()
    assert state_of(withdrawal) == ("waiting", "queued")
    assert_too_late_in_the_books(withdrawal)


def test_one_whose_event_was_seen_and_vanished_is_not_cancelled(
    wallets: Wallets, withdrawal: Withdrawal
) -> None:
    snapshot = wallets.client.request("evm_snapshot")
    pay_by_hand(wallets, withdrawal)
    wallets.finalize()
    watch_chain()
    wallets.client.request("evm_revert", snapshot)
    wallets.finalize()
    watch_chain()
    withdrawal.refresh_from_db()
    assert state_of(withdrawal) == ("waiting", "queued")
    with pytest.raises(TooLateToCancel):
        cancel(withdrawal)


def assert_too_late_in_the_books(withdrawal: Withdrawal) -> None:
    """For the service, and for a statement that asks nobody."""
    with pytest.raises(TooLateToCancel):
        cancel(withdrawal)
    with pytest.raises(IntegrityError, match="may be on chain"):
        ChainTransaction.objects.filter(withdrawal=withdrawal).update(state="cancelled")
    assert on_its_way() == AMOUNT


def test_one_that_the_escrow_has_paid_is_not_cancelled_whatever_the_books_know(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User
) -> None:
    pay_by_hand(wallets, withdrawal)
    with pytest.raises(TooLateToCancel):
        cancel(withdrawal)
    settle(wallets)
    assert (state_of(withdrawal)[0], spendable_wei(consumer)) == ("paid", 3 * OPEN - AMOUNT)
    assert books_match(wallets)


def test_what_the_chain_pays_all_the_same_is_taken_from_the_balance(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User
) -> None:
    """A forgotten try that was not mined yet: nobody could know when it was cancelled."""
    cancel(withdrawal)
    snapshot = wallets.client.request("evm_snapshot")
    pay_by_hand(wallets, withdrawal)
    settle(wallets)
    assert state_of(withdrawal) == ("paid", "cancelled")
    assert spendable_wei(consumer) == 3 * OPEN - AMOUNT
    assert books_match(wallets)
    wallets.client.request("evm_revert", snapshot)
    settle(wallets)
    assert state_of(withdrawal) == ("cancelled", "cancelled")
    assert spendable_wei(consumer) == 3 * OPEN
    assert books_match(wallets)


# At the same time as the sender


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """In a thread with a connection of its own."""

    def run(*given: Any) -> Any:
        try:
            return function(*given)
        finally:
            connection.close()

    return run


@pytest.mark.parametrize("escrow", ["open", "paused", "closed to us"])
def test_one_cancelled_while_the_sender_looks_at_it_is_not_sent(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User, escrow: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The sender has read the row and asks the chain; what it then writes leaves the row alone."""
    operator, at_escrow = operator_signer(), wallets.addresses.escrow
    if escrow == "paused":
        switch(wallets, "pause")
    elif escrow == "closed to us":
        call = renounce_role_call(at_escrow, "OPERATOR_ROLE", operator.address)
        wallets.send(operator, call)
    make_call = CALLS["withdraw"]

    def cancel_then_call(at: Any, subject: str, given: dict[str, Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(apart(cancel), withdrawal).result()
        return make_call(at, subject, given)

    with monkeypatch.context() as racing:
        racing.setitem(CALLS, "withdraw", cancel_then_call)
        send_transactions()
    assert state_of(withdrawal) == ("cancelled", "cancelled")
    row = ChainTransaction.objects.get(withdrawal=withdrawal)
    assert (row.nonce, bytes(row.raw), row.problem) == (None, b"", "")
    settle(wallets)
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN, 0)


def test_who_cancels_while_the_bytes_are_stored_waits_and_is_too_late(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, started = sender._store, []

    def store_while_somebody_cancels(*given: Any) -> None:
        started.append(pool.submit(apart(cancel), withdrawal))
        wait_until_somebody_waits(started[0])
        store(*given)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(sender, "_store", store_while_somebody_cancels)
        send_transactions()
        assert isinstance(started[0].exception(), TooLateToCancel)
    monkeypatch.undo()
    settle(wallets)
    assert (state_of(withdrawal)[0], on_its_way()) == ("paid", 0)
    assert books_match(wallets)


def wait_until_somebody_waits(other: Future[Any]) -> None:
    waiting = """
        SELECT count(*) FROM pg_locks
         WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))
    """
    with connection.cursor() as cursor:
        while not other.done():
            cursor.execute(waiting)
            if cursor.fetchone() == (1,):
                return
    pytest.fail("nobody waited for the row")


def test_many_cancelled_while_they_are_sent_end_as_one_or_the_other(
    wallets: Wallets, wallet: Signer, consumer: User, settings: Settings
) -> None:
    settings.WITHDRAWALS_PER_DAY, settings.WITHDRAWAL_MINIMUM_WEI = 99, 1
    before = open_of(wallets, wallet.address)
    rows = [
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=1 + number)
        for number in range(24)
    ]

    def try_to_cancel(row: Withdrawal) -> int:
        try:
            return int(cancel(row).amount_wei)
        except TooLateToCancel:
            return 0

    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(apart(send_transactions))
        back = sum(pool.map(apart(try_to_cancel), reversed(rows)))
        sending.result()
    settle(wallets)
    asked = sum(int(row.amount_wei) for row in rows)
    assert {state_of(row) for row in rows} <= {("cancelled", "cancelled"), ("paid", "final")}
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN - asked + back, 0)
    assert open_of(wallets, wallet.address) == before + asked - back
    assert books_match(wallets)


# Killed

CRASH_POINTS = [
    "withdrawals._take_out_of_the_queue",  # nothing yet
    "withdrawals.post",  # out of the queue, not committed
    "withdrawals.record_audit",  # back in the books, not committed
]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_while_it_is_cancelled_leaves_it_as_it_was(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User, point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with killed_at(point, monkeypatch):
        cancel(withdrawal)
    assert state_of(withdrawal) == ("waiting", "queued")
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN - AMOUNT, AMOUNT)
    assert reconcile().ok
    cancel(withdrawal)
    settle(wallets)
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN, 0)
    assert Transaction.objects.filter(kind="withdrawal_cancel").count() == 1
    assert books_match(wallets)


@pytest.mark.parametrize("point", [*CRASH_POINTS, "sender._store", "sender._broadcast"])
def test_a_crash_of_either_ends_in_one_payment_or_none(
    wallets: Wallets, withdrawal: Withdrawal, consumer: User, point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Who cancels dies, or the sender does: nobody cancels again, the rounds go on."""
    with killed_at(point, monkeypatch):
        if point in CRASH_POINTS:
            cancel(withdrawal)
        send_transactions()
    if point == "sender._store":  # signed in memory only, so it is not too late
        cancel(withdrawal)
    settle(wallets)
    paid = point != "sender._store"
    assert state_of(withdrawal)[0] == ("paid" if paid else "cancelled")
    assert spendable_wei(consumer) == 3 * OPEN - AMOUNT * paid
    assert books_match(wallets)


# What the database refuses, whoever asks

AFTER_IT_WAS_CANCELLED = [
    ("UPDATE rewards_chaintransaction SET state = 'queued'", "is cancelled"),
    ("UPDATE rewards_chaintransaction SET raw = '1'", "is cancelled"),
    ("UPDATE rewards_withdrawal SET state = 'waiting', ended_at = NULL", "a waiting withdrawal"),
    ("UPDATE rewards_withdrawal SET state = 'returned'", "a returned withdrawal"),
    ("UPDATE rewards_withdrawal SET returned_by_id = transaction_id", "came back before"),
]
WHILE_IT_WAITS = [
    ("UPDATE rewards_chaintransaction SET state = 'cancelled'", "nothing came back"),
    (
        "UPDATE rewards_withdrawal"
        " SET state = 'cancelled', ended_at = now(), returned_by_id = transaction_id",
        "of a queued transaction",
    ),
]  # fmt: skip


def refused(statement: str, words: str) -> None:
    row = " WHERE purpose = 'withdraw'" if "chaintransaction" in statement else ""
    with (
        pytest.raises(IntegrityError, match=words),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement + row)


def test_the_database_lets_nobody_cancel_one_half_or_send_what_is_cancelled(
    withdrawal: Withdrawal,
) -> None:
    for statement, words in WHILE_IT_WAITS:
        refused(statement, words)
    cancel(withdrawal)
    for statement, words in AFTER_IT_WAS_CANCELLED:
        refused(statement, words)
    subject = withdrawal.chain_transaction.subject
    again = queue_transaction("withdraw", subject=subject, to=withdrawal.address, amount_wei="1")
    assert (again.pk, again.state) == (withdrawal.chain_transaction_id, "cancelled")


def test_the_database_lets_nobody_cancel_what_is_signed(withdrawal: Withdrawal) -> None:
    send_transactions()
    refused("UPDATE rewards_chaintransaction SET state = 'cancelled'", "may be on chain")
    refused(
        "UPDATE rewards_chaintransaction SET state = 'cancelled', nonce = NULL, raw = '',"
        " transaction_hash = ''",
        "may be on chain",
    )
