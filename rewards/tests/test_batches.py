"""A batch of postings does what the same postings do one by one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openledger_site.accounts.models import User
from openledger_site.core.errors import DomainError
from rewards.models import Account, Entry, Transaction
from rewards.services.batches import Outcome, post_many, raise_refusals
from rewards.services.ledger import (
    InsufficientFunds,
    Posting,
    PostingDiffers,
    UnbalancedPosting,
    place_hold,
    post,
    system_account,
    user_account,
)
from rewards.services.reconcile import _BOOK_CHECKS

pytestmark = pytest.mark.django_db
Kind = Account.Kind
Fund = Callable[[User, int], None]


def spendable(user: User) -> Account:
    return Account.objects.get(pk=user_account(user, Kind.SPENDABLE).pk)


def payment(payer: User, payee: User, amount_wei: int, key: str) -> Posting:
    legs = [(spendable(payer), -amount_wei), (spendable(payee), amount_wei)]
    return Posting(key=key, kind="test", legs=legs, reason="Test")


def test_a_bad_posting_is_refused_alone(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    one_sided = Posting(key="two", kind="test", legs=[(spendable(consumer), 1)], reason="Test")
    outcomes = post_many(
        [
            payment(consumer, builder, 60, "one"),
            one_sided,
            payment(consumer, builder, 41, "three"),
            payment(consumer, builder, 40, "four"),
        ]
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Transaction, UnbalancedPosting, InsufficientFunds, Transaction]
    assert (spendable(consumer).balance_wei, spendable(builder).balance_wei) == (0, 100)


def test_money_that_comes_in_earlier_in_the_batch_can_be_spent(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 100)
    there_and_back = [
        payment(consumer, builder, 100, "there"),
        payment(builder, consumer, 100, "back"),
    ]
    backwards = [payment(builder, consumer, 1, "too early"), *there_and_back]
    kinds = [type(outcome) for outcome in post_many(backwards)]
    assert kinds == [InsufficientFunds, Transaction, Transaction]


def test_held_wei_cannot_be_spent_by_a_batch(consumer: User, builder: User, fund: Fund) -> None:
    fund(consumer, 100)
    place_hold(consumer, 80, key="hold", reason="Answer")
    outcomes = post_many([payment(consumer, builder, n, f"{n}") for n in (21, 20)])
    assert [type(outcome) for outcome in outcomes] == [InsufficientFunds, Transaction]


def test_a_key_counts_once_within_a_batch_and_before_it(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 100)
    first = post(
        key="old",
        kind="test",
        legs=payment(consumer, builder, 5, "old").legs,
        reason="Test",
    )
    twice = [payment(consumer, builder, 7, "new")] * 2
    other = [payment(consumer, builder, 8, "new"), payment(consumer, builder, 6, "old")]
    old, new, same, *differing = post_many([payment(consumer, builder, 5, "old"), *twice, *other])
    assert old == first
    assert new == same
    assert [type(outcome) for outcome in differing] == [PostingDiffers, PostingDiffers]
    assert spendable(consumer).balance_wei == 88


def test_a_mirror_that_would_turn_over_is_refused_alone(consumer: User, fund: Fund) -> None:
    fund(consumer, 100)
    legs = [(system_account(Kind.CUSTODY), 101), (spendable(consumer), -101)]
    custody = Posting(key="k", kind="test", legs=legs, reason="Test")
    assert isinstance(post_many([custody])[0], IntegrityError | InsufficientFunds)


def test_raise_refusals_undoes_the_whole_batch_of_a_caller_who_expects_none(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 100)
    batch = [payment(consumer, builder, 60, "one"), payment(consumer, builder, 60, "two")]
    with pytest.raises(InsufficientFunds), transaction.atomic():
        raise_refusals(post_many(batch))
    assert spendable(consumer).balance_wei == 100


def test_an_empty_batch_is_nothing() -> None:
    assert post_many([]) == []


@pytest.mark.django_db(transaction=True)
def test_ten_batches_at_once_with_shared_keys_and_accounts_count_each_key_once(
    consumer: User, builder: User, contributor: User, fund: Fund
) -> None:
    people = [consumer, builder, contributor]
    for person in people:
        fund(person, 10_000)
        spendable(person)

    def write(number: int) -> list[Outcome]:
        order = [(n * (number + 1)) % 31 for n in range(31)]
        try:
            return post_many(
                [payment(people[n % 3], people[(n + 1) % 3], n + 1, f"key {n}") for n in order]
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(write, range(10)))
    assert all(isinstance(outcome, Transaction) for result in results for outcome in result)
    assert Transaction.objects.filter(kind="test").count() == 31
    assert {name: check() for name, check in _BOOK_CHECKS.items() if check()} == {}


@pytest.mark.django_db(transaction=True)
def test_batches_and_single_postings_on_one_account_never_wait_in_a_circle(
    consumer: User, builder: User, fund: Fund
) -> None:
    fund(consumer, 10_000)
    fund(builder, 10_000)

    def write(number: int) -> None:
        try:
            for turn in range(10):
                pair = (consumer, builder) if (number + turn) % 2 else (builder, consumer)
                batch = [payment(*pair, 1, f"{turn}:{n}") for n in range(8)]
                if number % 2:
                    post_many(batch)
                    continue
                for one in reversed(batch):
                    try:
                        post(key=one.key, kind=one.kind, legs=one.legs, reason=one.reason)
                    except PostingDiffers:
                        continue
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert Transaction.objects.filter(kind="test").count() == 80
    assert {name: check() for name, check in _BOOK_CHECKS.items() if check()} == {}


place = st.integers(0, 4)
# Around 30, which each person has, and 21, which is free where 9 are held.
near_a_limit = st.sampled_from([1, 9, 20, 21, 22, 29, 30, 31, 60])
amount = st.one_of(st.integers(-3, 60), st.integers(0, 2**130))
leg = st.tuples(place, amount)
legs_drawn = st.one_of(
    st.tuples(place, place, near_a_limit).map(lambda drawn: [*_pair(*drawn)]),
    st.lists(leg, max_size=3),
    st.tuples(place, place, place, st.integers(0, 40), st.integers(0, 40)).map(
        lambda drawn: [
            (drawn[0], -drawn[3] - drawn[4]),
            (drawn[1], drawn[3]),
            (drawn[2], drawn[4]),
        ]
    ),
)


def _pair(payer: int, payee: int, amount_wei: int) -> list[tuple[int, int]]:
    return [(payer, -amount_wei), (payee, amount_wei)]


def one_by_one(postings: list[Posting]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for posting in postings:
        try:
            with transaction.atomic():
                outcomes.append(
                    post(
                        key=posting.key,
                        kind=posting.kind,
                        legs=posting.legs,
                        reason=posting.reason,
                    )
                )
        except (DomainError, IntegrityError, UnbalancedPosting) as refusal:
            outcomes.append(refusal)
    return outcomes


def state(outcomes: list[Outcome]) -> tuple[object, ...]:
    """All that can be seen of the books and of the answers, but for ids and times."""
    said = [
        outcome.key if isinstance(outcome, Transaction) else type(outcome) for outcome in outcomes
    ]
    rows = Transaction.objects.order_by("key").values_list("key", "kind", "reason")
    legs = Entry.objects.order_by("transaction__key", "account").values_list(
        "transaction__key", "account", "amount_wei"
    )
    balances = Account.objects.order_by("pk").values_list("pk", "balance_wei", "held_wei")
    return said, list(rows), list(legs), list(balances)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 5), legs_drawn), max_size=12), held=st.integers(0, 9)
)
def test_a_batch_equals_the_same_postings_one_by_one(
    drawn: list[tuple[int, list[tuple[int, int]]]],
    held: int,
    owner: User,
    builder: User,
    consumer: User,
) -> None:
    accounts = [user_account(person, Kind.SPENDABLE) for person in (owner, builder, consumer)]
    accounts += [system_account(Kind.CUSTODY), system_account(Kind.FEES)]
    postings = [
        Posting(f"key {key}", "test", [(accounts[at], wei) for at, wei in legs], "Test")
        for key, legs in drawn
    ]
    seen = []
    for write in (one_by_one, post_many):
        undo = transaction.savepoint()
        start = [(accounts[3], -90), *((one, 30) for one in accounts[:3])]
        post(key="start", kind="deposit", legs=start, reason="Deposit")
        if held:
            place_hold(owner, held, key="hold", reason="Answer")
        seen.append(state(write(postings)))
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        transaction.savepoint_rollback(undo)
    assert seen[0] == seen[1]
