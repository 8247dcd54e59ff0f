"""The books refuse, in the database itself, whatever would unbalance them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from openledger_site.accounts.models import User
from rewards.models import Account, Entry, Hold, Transaction
from rewards.services.ledger import (
    HoldResolved,
    InsufficientFunds,
    PostingDiffers,
    UnbalancedPosting,
    expire_holds,
    place_hold,
    post,
    system_account,
    user_account,
    void_hold,
)

pytestmark = pytest.mark.django_db
Kind = Account.Kind
Fund = Callable[[User, int], None]


def spendable(user: User) -> Account:
    return user_account(user, Kind.SPENDABLE)


def sql(statement: str) -> None:
    """Run raw SQL to the end of its own transaction, deferred checks included."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def pay(payer: User, payee: User, amount_wei: int, key: str) -> Transaction:
    legs = [(spendable(payer), -amount_wei), (spendable(payee), amount_wei)]
    return post(key=key, kind="test", legs=legs, reason="Test")


def test_a_posting_moves_both_balances(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    pay(consumer, builder, 30, "one")
    assert (spendable(consumer).balance_wei, spendable(builder).balance_wei) == (70, 30)


def test_amounts_up_to_a_full_evm_word_are_exact(consumer: User, fund: Fund) -> None:
    fund(consumer, 2**256 - 1)
    assert spendable(consumer).balance_wei == 2**256 - 1


def test_the_same_key_posts_once(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    assert pay(consumer, builder, 30, "one") == pay(consumer, builder, 30, "one")
    assert spendable(consumer).balance_wei == 70


def test_the_same_key_with_other_legs_is_refused(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    pay(consumer, builder, 30, "one")
    with pytest.raises(PostingDiffers):
        pay(consumer, builder, 31, "one")


def test_legs_that_do_not_sum_to_zero_are_a_mistake(consumer: User) -> None:
    legs = [(system_account(Kind.CUSTODY), -2), (spendable(consumer), 1)]
    with pytest.raises(UnbalancedPosting):
        post(key="k", kind="test", legs=legs, reason="Test")


def test_nobody_goes_below_zero_and_nothing_stays_behind(consumer: User, builder: User) -> None:
    with pytest.raises(InsufficientFunds):
        pay(consumer, builder, 1, "one")
    assert not Transaction.objects.exists()


def test_held_wei_cannot_be_spent(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    place_hold(consumer, 80, key="hold", reason="Answer")
    with pytest.raises(InsufficientFunds):
        pay(consumer, builder, 21, "one")
    pay(consumer, builder, 20, "two")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rewards_entry SET amount_wei = amount_wei + 1",
        "DELETE FROM rewards_entry",
        "UPDATE rewards_transaction SET reason = 'x'",
        "DELETE FROM rewards_transaction",
        "UPDATE rewards_account SET balance_wei = balance_wei + 1",
        "UPDATE rewards_account SET held_wei = 1 WHERE kind = 'spendable'",
        "UPDATE rewards_account SET kind = 'holding' WHERE kind = 'spendable'",
        "UPDATE rewards_account SET code = code || 'x', balance_wei = balance_wei",
        "INSERT INTO rewards_account (code, kind, owner_id, balance_wei, held_wei)"
        " SELECT code, kind, owner_id, 0, 0 FROM rewards_account"
        " ON CONFLICT (code) DO UPDATE SET code = 'other:' || rewards_account.code",
        "MERGE INTO rewards_account a USING rewards_account b ON a.id = b.id"
        " WHEN MATCHED THEN UPDATE SET balance_wei = a.balance_wei + 1",
        "DELETE FROM rewards_account",
        "INSERT INTO rewards_account (code, kind, balance_wei, held_wei)"
        " VALUES ('x', 'dust', 5, 0)",
        "INSERT INTO rewards_transaction (public_id, key, kind, reason, source_url, written_by)"
        " VALUES (gen_random_uuid(), 'x', 'x', 'x', '', 0)",
    ],
)
def test_raw_sql_cannot_unbalance_the_books(statement: str, consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    with pytest.raises(IntegrityError):
        sql(statement)
    assert spendable(consumer).balance_wei == 100


@pytest.mark.parametrize("legs", [2, 16, 17, 400])
def test_a_statement_of_few_or_many_legs_moves_each_balance_by_their_sum(
    legs: int, consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 1_000)
    payer, payee = spendable(consumer), spendable(builder)
    written_together([(payer, -2), (payee, 2)], times=legs // 2)
    sql("SELECT 1")
    moved = 2 * (legs // 2)
    assert (spendable(consumer).balance_wei, spendable(builder).balance_wei) == (
        1_000 - moved,
        moved,
    )


@transaction.atomic
def written_together(legs: list[tuple[Account, int]], times: int, prefix: str = "k") -> None:
    rows = [
        Transaction.objects.create(key=f"{prefix}{n}", kind="x", reason="x") for n in range(times)
    ]
    Entry.objects.bulk_create(
        Entry(transaction=row, account=account, amount_wei=amount)
        for row in rows
        for account, amount in legs
    )


def test_many_legs_cannot_take_an_account_below_zero(consumer: User, builder: User) -> None:
    accounts = [system_account(kind) for kind in (Kind.DUST, Kind.FEES, Kind.RESERVE)]
    legs = [(account, 1) for account in accounts] + [(spendable(consumer), -3)]
    with pytest.raises(IntegrityError, match="never_below_zero"):
        written_together(legs, times=6)
    assert spendable(consumer).balance_wei == 0


def one_sided(account: Account) -> None:
    with transaction.atomic():
        row = Transaction.objects.create(key="x", kind="x", reason="x")
        Entry.objects.create(transaction=row, account=account, amount_wei=5)
        sql("SELECT 1")


def test_a_one_sided_transaction_is_refused_at_commit(consumer: User) -> None:
    account = spendable(consumer)
    with pytest.raises(IntegrityError, match="1 legs that sum to 5"):
        one_sided(account)


@pytest.mark.django_db(transaction=True)
def test_a_committed_transaction_takes_no_more_entries(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    row = Transaction.objects.get()
    with pytest.raises(IntegrityError, match="is sealed"), transaction.atomic():
        Entry.objects.create(transaction=row, account=system_account(Kind.DUST), amount_wei=5)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("others", [1, 20])
def test_entries_of_a_sealed_transaction_are_found_among_new_ones(
    others: int, consumer: User, fund: Fund
) -> None:
    fund(consumer, 100)
    with pytest.raises(IntegrityError, match="is sealed"):
        written_with(Transaction.objects.get(), others)


@transaction.atomic
def written_with(sealed: Transaction, others: int) -> None:
    dust = system_account(Kind.DUST)
    rows = [Transaction(key=f"k{n}", kind="x", reason="x") for n in range(others)]
    Transaction.objects.bulk_create(rows)
    Entry.objects.bulk_create(
        Entry(transaction=row, account=dust, amount_wei=5) for row in (*rows, sealed)
    )


@pytest.mark.django_db(transaction=True)
def test_legs_on_an_account_that_is_not_there_are_refused() -> None:
    legs = [(Account(pk=10**9), -5), (system_account(Kind.DUST), 5)]
    with pytest.raises(IntegrityError, match="foreign key"):
        post(key="k", kind="test", legs=legs, reason="Test")
    assert not Transaction.objects.exists()


def test_a_posting_is_one_statement_with_its_hold_too(
    consumer: User, builder: User, fund: Fund, django_assert_num_queries: Any
) -> None:
    fund(consumer, 100)
    hold = place_hold(consumer, 60, key="hold", reason="Answer")
    legs = [(spendable(consumer), -50), (spendable(builder), 50)]
    with django_assert_num_queries(3):  # with the savepoint of this test's transaction
        row = post(key="k", kind="test", legs=legs, reason="Test", hold=hold)
    hold.refresh_from_db()
    assert (hold.state, hold.transaction, hold.resolved_at) == ("posted", row, row.created_at)
    assert spendable(consumer).held_wei == 0


def test_a_hold_that_was_used_posts_nothing_more(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    hold = place_hold(consumer, 60, key="hold", reason="Answer")
    void_hold(hold)
    legs = [(spendable(consumer), -50), (spendable(builder), 50)]
    with pytest.raises(IntegrityError, match="already voided"):
        post(key="k", kind="test", legs=legs, reason="Test", hold=hold)
    assert spendable(consumer).balance_wei == 100


def test_a_voided_hold_frees_its_wei_once(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    hold = place_hold(consumer, 80, key="hold", reason="Answer")
    void_hold(hold)
    void_hold(hold)
    assert spendable(consumer).available_wei == 100


def test_a_hold_above_the_balance_is_refused(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    with pytest.raises(InsufficientFunds, match=r"you have"):
        place_hold(consumer, 101, key="hold", reason="Answer")


def test_the_same_hold_key_reserves_once(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    first = place_hold(consumer, 60, key="hold", reason="Answer")
    assert place_hold(consumer, 60, key="hold", reason="Answer") == first
    assert spendable(consumer).held_wei == 60


def test_a_resolved_hold_cannot_be_resolved_again_in_raw_sql(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    void_hold(place_hold(consumer, 60, key="hold", reason="Answer"))
    with pytest.raises(IntegrityError, match="already voided"):
        sql("UPDATE rewards_hold SET state = 'pending', resolved_at = NULL")


def test_an_expired_hold_is_freed(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    hold = place_hold(consumer, 60, key="hold", reason="Answer")
    assert expire_holds() == 0
    Hold.objects.filter(pk=hold.pk).update(expires_at=Now() - timedelta(seconds=1))
    assert expire_holds() == 1
    assert spendable(consumer).available_wei == 100


def test_a_posted_hold_cannot_be_voided(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    hold = place_hold(consumer, 60, key="hold", reason="Answer")
    legs = [(spendable(consumer), -50), (spendable(builder), 50)]
    post(key="k", kind="test", legs=legs, reason="Test", hold=hold)
    with pytest.raises(HoldResolved):
        void_hold(hold)


def in_ten_threads(action: Callable[[int], object]) -> list[object]:
    def one(number: int) -> object:
        try:
            return action(number)
        except InsufficientFunds as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        return list(pool.map(one, range(10)))


@pytest.mark.django_db(transaction=True)
def test_ten_threads_with_one_key_have_one_effect(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 100)
    spendable(builder)
    rows = in_ten_threads(lambda _: pay(consumer, builder, 10, "one").pk)
    assert len(set(rows)) == 1
    assert spendable(consumer).balance_wei == 90


@pytest.mark.django_db(transaction=True)
def test_ten_threads_that_overdraw_never_go_below_zero(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 35)
    spendable(builder)
    results = in_ten_threads(lambda number: pay(consumer, builder, 10, f"pay {number}"))
    assert sum(isinstance(result, InsufficientFunds) for result in results) == 7
    assert spendable(consumer).balance_wei == 5


@pytest.mark.django_db(transaction=True)
def test_ten_threads_that_reserve_too_much_reserve_what_is_there(
    consumer: User, fund: Fund
) -> None:
    fund(consumer, 35)
    in_ten_threads(lambda number: place_hold(consumer, 10, key=f"h{number}", reason="Answer"))
    assert spendable(consumer).held_wei == 30


@pytest.mark.django_db(transaction=True)
def test_statements_of_many_legs_at_once_move_each_balance_by_their_sum(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 10_000)
    payer, payee = spendable(consumer), spendable(builder)
    fees, dust = system_account(Kind.FEES), system_account(Kind.DUST)

    def write(number: int) -> None:
        legs = [(payer, -3), (payee, 1), (fees, 1), (dust, 1)]
        for turn in range(5):
            legs.reverse()
            written_together(legs, times=10, prefix=f"{number}:{turn}:")

    in_ten_threads(write)
    balances = [Account.objects.get(pk=one.pk).balance_wei for one in (payer, payee, fees, dust)]
    assert balances == [10_000 - 1_500, 500, 500, 500]
