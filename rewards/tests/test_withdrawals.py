"""Taking a balance back to a wallet, on a real chain: paid once, or returned, never both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.errors import DomainError
from openledger_site.core.models import OutboxMessage
from rewards.chain.calls import encode_call, renounce_role_call, withdraw_call
from rewards.chain.errors import WrongChain
from rewards.chain.records import LogPlace, WithdrawalEvent
from rewards.chain.transactions import Signer
from rewards.models import (
    Account,
    ChainTransaction,
    EscrowWithdrawal,
    PayoutFreeze,
    Transaction,
    Withdrawal,
)
from rewards.selectors import spendable_wei, statement_of
from rewards.selectors.withdrawals import progress_of, withdrawable_wei, withdrawals_of
from rewards.services import (
    InsufficientFunds,
    place_hold,
    reconcile,
    return_refused_withdrawals,
    send_transactions,
    watch_chain,
)
from rewards.services.chain import chain_client, operator_signer
from rewards.services.income_books import book_withdrawal, void_withdrawal
from rewards.services.ledger import post, system_account, user_account
from rewards.services.reconcile import _BOOK_CHECKS
from rewards.services.sender import queue_transaction
from rewards.services.withdrawals import (
    PayoutsFrozen,
    TooLateToCancel,
    TooManyWithdrawals,
    WalletWaits,
    WithdrawalTooSmall,
    _give_back,
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
Kind = Account.Kind
AMOUNT = 2 * OPEN + 7


@pytest.fixture
def wallet(wallets: Wallets, consumer: User) -> Signer:
    """Quinn's, with three OPEN deposited from it."""
    return funded_wallet(wallets, consumer)


def take_role_away(wallets: Wallets) -> None:
    operator, escrow = operator_signer(), wallets.addresses.escrow
    wallets.send(operator, renounce_role_call(escrow, "OPERATOR_ROLE", operator.address))


def test_a_withdrawal_leaves_the_balance_at_once_and_the_books_when_it_is_final(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    before = open_of(wallets, wallet.address)
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=AMOUNT)
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN - AMOUNT, AMOUNT)
    send_transactions()
    watch_chain()
    assert on_its_way() == AMOUNT  # mined, not final
    assert reconcile().ok
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, on_its_way()) == ("paid", 0)
    assert open_of(wallets, wallet.address) == before + AMOUNT
    assert books_match(wallets)


def test_the_statement_says_in_words_where_it_went(wallet: Signer, consumer: User) -> None:
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=AMOUNT)
    entry = statement_of(consumer)[0]
    assert entry.amount_wei == -AMOUNT
    assert entry.transaction.reason == f"Withdrawn to {wallet.address[:8]}…{wallet.address[-4:]}"
    assert str(withdrawal.public_id) in entry.transaction.source_url


def test_the_queue_is_woken_in_the_same_transaction(wallet: Signer, consumer: User) -> None:
    ask_withdrawal(user=consumer, address=wallet.address, amount_wei=AMOUNT)
    assert OutboxMessage.objects.filter(task="rewards.send_transactions").exists()


def test_a_deposit_that_is_not_final_cannot_be_withdrawn(wallets: Wallets, consumer: User) -> None:
    signer = wallets.new(5)
    wallets.link(consumer, signer)
    wallets.deposit(signer, 3 * OPEN)
    watch_chain()
    with pytest.raises(InsufficientFunds):
        ask_withdrawal(user=consumer, address=signer.address, amount_wei=OPEN)


def test_what_is_on_hold_or_earned_cannot_be_withdrawn(wallet: Signer, consumer: User) -> None:
    place_hold(consumer, 2 * OPEN, key="a", reason="Answer")
    post(
        key="test:earned", kind="epoch", reason="Earned",
        legs=[
            (system_account(Kind.CUSTODY), -9 * OPEN),
            (user_account(consumer, Kind.PAYABLE), 9 * OPEN),
        ],
    )  # fmt: skip
    assert withdrawable_wei(consumer) == OPEN
    with pytest.raises(InsufficientFunds) as refusal:
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN + 1)
    assert refusal.value.limit == OPEN
    ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)


def test_only_a_linked_wallet_is_paid(wallets: Wallets, wallet: Signer, consumer: User) -> None:
    for address in (wallets.new().address, wallets.addresses.escrow, "0x"):
        with pytest.raises(DomainError, match="linked"):
            ask_withdrawal(user=consumer, address=address, amount_wei=OPEN)
    consumer.wallets.update(unlinked_at="2026-01-01T00:00:00Z")
    with pytest.raises(DomainError, match="linked"):
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)


def test_a_wallet_that_was_added_a_short_while_ago_is_not_paid_yet(
    wallet: Signer, consumer: User
) -> None:
    paid_from = timezone.now() + timedelta(hours=5)
    consumer.wallets.update(paid_from=paid_from)
    with pytest.raises(WalletWaits, match=f"{paid_from:%d %B %Y, %H:%M} UTC"):
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    assert not Withdrawal.objects.exists()
    consumer.wallets.update(paid_from=timezone.now())
    ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)


def test_too_little_and_too_often_are_refused(
    wallet: Signer, consumer: User, settings: Settings
) -> None:
    settings.WITHDRAWALS_PER_DAY = 2
    with pytest.raises(WithdrawalTooSmall, match="at least 1 OPEN"):
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN - 1)
    for _ in range(2):
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    with pytest.raises(TooManyWithdrawals):
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)


def test_eight_at_once_cannot_take_more_than_there_is(
    wallets: Wallets, wallet: Signer, consumer: User, settings: Settings
) -> None:
    settings.WITHDRAWALS_PER_DAY = 8

    def ask(_: int) -> int:
        try:
            return int(
                ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN).amount_wei
            )
        except InsufficientFunds:
            return 0
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 3 * OPEN
    settle(wallets)
    assert (spendable_wei(consumer), on_its_way()) == (0, 0)
    assert books_match(wallets)


def test_frozen_payouts_refuse_new_ones_and_hold_back_what_is_queued(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    freeze = PayoutFreeze.objects.create(reason="Looked into.")
    with pytest.raises(PayoutsFrozen):
        ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    settle(wallets)
    withdrawal.refresh_from_db()
    assert withdrawal.chain_transaction.state == "queued"
    assert "frozen" in progress_of(withdrawal).words
    freeze.delete()
    settle(wallets)
    withdrawal.refresh_from_db()
    assert withdrawal.state == "paid"


def test_a_paused_escrow_keeps_it_queued_and_nothing_else_waiting(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    switch(wallets, "pause")
    first = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    second = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    anchor = queue_transaction("anchor", subject="test:1", root="0x" + "1" * 64, count=1)
    settle(wallets)
    for row in (first, second, anchor):
        row.refresh_from_db()
    assert [row.chain_transaction.state for row in (first, second)] == ["queued", "queued"]
    assert anchor.state == "final"
    assert "paused" in progress_of(first).words
    assert on_its_way() == 2 * OPEN
    switch(wallets, "unpause")
    settle(wallets)
    assert {row.state for row in withdrawals_of(consumer)} == {"paid"}
    assert books_match(wallets)


def test_an_operator_without_gas_keeps_it_signed_and_sends_it_later_once(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    operator = operator_signer().address
    had = wallets.client.native_balance_of(operator)
    before = open_of(wallets, wallet.address)
    wallets.client.request("anvil_setBalance", operator, "0x0")
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, withdrawal.chain_transaction.state) == ("waiting", "signed")
    assert "gas" in progress_of(withdrawal).words
    wallets.client.request("anvil_setBalance", operator, hex(had))
    settle(wallets)
    withdrawal.refresh_from_db()
    assert withdrawal.state == "paid"
    assert open_of(wallets, wallet.address) == before + OPEN
    assert books_match(wallets)


def test_the_wrong_chain_keeps_it_queued(
    wallets: Wallets, wallet: Signer, consumer: User, settings: Settings
) -> None:
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    settings.CHAIN_ID = 31338
    with pytest.raises(WrongChain):
        chain_client().latest_block()
    assert "chain 31337" in progress_of(withdrawal).words
    settings.CHAIN_ID = 31337
    settle(wallets)
    withdrawal.refresh_from_db()
    assert withdrawal.state == "paid"


def revert_in_its_block(
    wallets: Wallets, wallet: Signer, consumer: User, monkeypatch: pytest.MonkeyPatch
) -> Withdrawal:
    """Signed while the escrow was open, mined while it is paused: the contract refuses it."""
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=AMOUNT)
    wallets.client.request("evm_setAutomine", False)
    signer, escrow = operator_signer(), wallets.addresses.escrow
    call = encode_call(escrow, "pause()")
    nonce = wallets.client.transaction_count(signer.address)
    pause = signer.sign(call, nonce=nonce, gas_limit=200_000, fees=wallets.client.estimate_fees())
    monkeypatch.setattr("rewards.services.sender._next_nonce", lambda *_: nonce + 1)
    send_transactions()
    wallets.client.send_raw(pause.raw)
    wallets.client.request("evm_setAutomine", True)
    wallets.chain.mine(1)
    monkeypatch.undo()
    return withdrawal


def test_one_that_reverts_comes_back_once_that_is_final(
    wallets: Wallets, wallet: Signer, consumer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch(wallets, "pause")
    switch(wallets, "unpause")
    withdrawal = revert_in_its_block(wallets, wallet, consumer, monkeypatch)
    send_transactions()
    return_refused_withdrawals()
    withdrawal.refresh_from_db()
    assert withdrawal.state == "waiting"  # a reorganisation may still let it pass
    settle(wallets)
    withdrawal.refresh_from_db()
    assert withdrawal.state == "returned"
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN, 0)
    assert "refused" in statement_of(consumer)[0].transaction.reason
    switch(wallets, "unpause")
    assert books_match(wallets)


def test_bytes_that_pass_after_they_were_given_back_are_taken_from_the_balance(
    wallets: Wallets, wallet: Signer, consumer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain that takes back a final block (ours after a kill -9) can let the same bytes pass."""
    switch(wallets, "pause")
    switch(wallets, "unpause")
    snapshot = wallets.client.request("evm_snapshot")
    withdrawal = revert_in_its_block(wallets, wallet, consumer, monkeypatch)
    settle(wallets)
    place_hold(consumer, 2 * OPEN, key="a", reason="Answer")
    wallets.client.request("evm_revert", snapshot)
    row = ChainTransaction.objects.get(purpose="withdraw")
    signer = operator_signer()
    filler = signer.sign(
        encode_call(wallets.addresses.token, "approve(address,uint256)", wallet.address, 1),
        nonce=wallets.client.transaction_count(signer.address),
        gas_limit=200_000,
        fees=wallets.client.estimate_fees(),
    )
    wallets.client.send_raw(filler.raw)
    wallets.client.send_raw(bytes(row.raw))
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, withdrawal.debt_wei) == ("paid", AMOUNT - OPEN)
    assert (spendable_wei(consumer), withdrawable_wei(consumer)) == (0, 0)
    assert not any(check() for check in _BOOK_CHECKS.values())


def test_an_operator_who_lost_the_role_gives_it_back(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    take_role_away(wallets)
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, spendable_wei(consumer)) == ("returned", 3 * OPEN)
    assert "AccessControl" in progress_of(withdrawal).words
    assert books_match(wallets)


def test_an_id_that_the_escrow_took_before_is_not_given_back(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    """The database was restored from before it was signed: the chain has paid it already."""
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    snapshot = wallets.client.request("evm_snapshot")
    identifier = bytes.fromhex(withdrawal.escrow_id[2:])
    call = withdraw_call(wallets.addresses.escrow, wallet.address, OPEN, identifier)
    wallets.send(operator_signer(), call)
    send_transactions()
    assert return_refused_withdrawals() == 0
    assert on_its_way() == OPEN
    wallets.client.request("evm_revert", snapshot)  # its block is gone before it was final
    assert return_refused_withdrawals() == 0
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, on_its_way()) == ("paid", 0)
    assert books_match(wallets)


def test_what_was_paid_is_not_given_back_whatever_the_next_try_is_told(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    """The contract asks for the role before it looks at the id: its refusal hides the payment."""
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    identifier = bytes.fromhex(withdrawal.escrow_id[2:])
    call = withdraw_call(wallets.addresses.escrow, wallet.address, OPEN, identifier)
    wallets.send(operator_signer(), call)
    take_role_away(wallets)
    send_transactions()
    withdrawal.refresh_from_db()
    assert "AccessControl" in withdrawal.chain_transaction.problem
    assert return_refused_withdrawals() == 0
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, spendable_wei(consumer)) == ("paid", 2 * OPEN)
    assert books_match(wallets)


@pytest.mark.parametrize("depth", [1, 2, 5, 12])
def test_a_reorganisation_pays_once(
    wallets: Wallets, wallet: Signer, consumer: User, depth: int
) -> None:
    """Its block is taken back at each depth, mined, final and booked or not."""
    before = open_of(wallets, wallet.address)
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    send_transactions()
    wallets.chain.mine(depth - 1)
    send_transactions()
    watch_chain()
    wallets.client.request("anvil_reorg", depth, [])
    for _ in range(3):
        settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, on_its_way()) == ("paid", 0)
    assert open_of(wallets, wallet.address) == before + OPEN
    assert books_match(wallets)


def test_one_that_was_final_and_left_the_chain_is_on_its_way_again(
    wallets: Wallets, wallet: Signer, consumer: User
) -> None:
    withdrawal = ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    snapshot = wallets.client.request("evm_snapshot")
    settle(wallets)
    wallets.client.request("evm_revert", snapshot)
    wallets.finalize()
    watch_chain()
    withdrawal.refresh_from_db()
    assert (withdrawal.state, on_its_way()) == ("waiting", OPEN)
    settle(wallets)
    withdrawal.refresh_from_db()
    assert (withdrawal.state, on_its_way()) == ("paid", 0)
    assert books_match(wallets)


CRASH_POINTS = [
    "withdrawals.post",  # nothing yet
    "withdrawals.queue_transaction",  # moved in the books, not committed
    "withdrawals.record_audit",  # queued, not committed
    "withdrawals.send_on_commit",
    "sender._store",  # signed, not stored
    "sender._broadcast",  # stored, not sent
    "sender._book_receipt",  # mined, not noted
    "withdrawal_books.post",  # seen, not booked
    "deposits.carry_out_decisions",  # booked
]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_anywhere_ends_in_one_payment(
    wallets: Wallets, wallet: Signer, consumer: User, point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Killed once at each point; the person asks again if nothing stands, and the rounds go on."""
    before = open_of(wallets, wallet.address)

    def ask_and_settle() -> None:
        if not withdrawals_of(consumer).exists():
            ask_withdrawal(user=consumer, address=wallet.address, amount_wei=AMOUNT)
        settle(wallets)

    with killed_at(point, monkeypatch):
        ask_and_settle()
    assert spendable_wei(consumer) + on_its_way() in (3 * OPEN, 3 * OPEN - AMOUNT)
    for _ in range(2):
        ask_and_settle()
    assert withdrawals_of(consumer).get().state == "paid"
    assert open_of(wallets, wallet.address) == before + AMOUNT
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN - AMOUNT, 0)
    assert books_match(wallets)


@pytest.mark.parametrize("point", ["withdrawals.post", "withdrawals.record_audit"])
def test_a_crash_while_it_is_given_back_gives_it_back_once(
    wallets: Wallets, wallet: Signer, consumer: User, point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    take_role_away(wallets)
    ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    with killed_at(point, monkeypatch):
        settle(wallets)
    for _ in range(2):
        settle(wallets)
    assert (spendable_wei(consumer), on_its_way()) == (3 * OPEN, 0)
    assert Transaction.objects.filter(kind="withdrawal_return").count() == 1


def test_a_wei_missing_from_what_is_on_its_way_is_found(wallet: Signer, consumer: User) -> None:
    ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rewards_withdrawal DISABLE TRIGGER USER")
        cursor.execute("UPDATE rewards_withdrawal SET amount_wei = amount_wei - 1")
        cursor.execute("ALTER TABLE rewards_withdrawal ENABLE TRIGGER USER")
    assert len(reconcile().problems["I10"]) == 1


def test_the_database_keeps_a_withdrawal_as_it_was_asked_for(
    wallet: Signer, consumer: User
) -> None:
    ask_withdrawal(user=consumer, address=wallet.address, amount_wei=OPEN)
    for change in (
        lambda: Withdrawal.objects.update(amount_wei=1),
        lambda: Withdrawal.objects.update(address="0x"),
        lambda: Withdrawal.objects.all().delete(),
    ):
        with pytest.raises(Exception, match=r"(?i)cannot|kept"):
            change()


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deposit", "ask", "pay", "void", "refuse", "cancel"]), st.integers(1, 9)
    ),
    max_size=12,
)


@pytest.mark.django_db(transaction=False)
@pytest.mark.timeout(300)
@hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_no_order_of_events_makes_or_loses_a_wei(
    wallets: Wallets, make_user: Callable[..., User], settings: Settings, steps: list[Step]
) -> None:
    """Deposits, withdrawals, final events, events that vanish, refusals and second thoughts."""
    settings.WITHDRAWALS_PER_DAY = 99
    with transaction.atomic():
        person = make_user("Pat")
        signer = wallets.new()
        wallets.link(person, signer)
        deposited = 0
        for number, (what, open_count) in enumerate(steps):
            amount = open_count * OPEN + number
            if what == "deposit":
                legs = [
                    (system_account(Kind.CUSTODY), -amount),
                    (user_account(person, Kind.SPENDABLE), amount),
                ]
                post(key=f"test:{number}", kind="deposit", legs=legs, reason="Deposit")
                deposited += amount
            elif what == "ask" and withdrawable_wei(person) >= amount:
                ask_withdrawal(user=person, address=signer.address, amount_wei=amount)
            elif what == "refuse":
                for row in person.withdrawals.filter(state="waiting")[:1]:
                    _give_back(row, Withdrawal.State.RETURNED, "return", "Refused")
            elif what == "cancel":
                for row in person.withdrawals.filter(state="waiting")[:1]:
                    with suppress(TooLateToCancel):  # its event was seen before it vanished
                        cancel_withdrawal(withdrawal=row, actor=person)
            elif what == "pay":
                for row in person.withdrawals.exclude(state="paid").order_by("pk")[:1]:
                    book_withdrawal(_event(row, number), 31337)
            else:
                for event in EscrowWithdrawal.objects.filter(state="person")[:1]:
                    void_withdrawal(event)
            out = EscrowWithdrawal.objects.filter(state="person")
            paid = sum(out.values_list("amount_wei", flat=True))
            debt = -int(system_account(Kind.REORG_DEBT).balance_wei)
            assert spendable_wei(person) + on_its_way() + paid == deposited + debt
            assert not any(check() for check in _BOOK_CHECKS.values())
        transaction.set_rollback(True)


def _event(withdrawal: Withdrawal, number: int) -> WithdrawalEvent:
    place = LogPlace(number, f"0x{number:064x}", f"0x{number:064x}", 0)
    return WithdrawalEvent(
        withdrawal.address, int(withdrawal.amount_wei), withdrawal.escrow_id, place
    )
