"""Whatever people do in whatever order, the books balance and every split is exact."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openledger_site.accounts.models import User
from openledger_site.core.errors import DomainError
from rewards.models import Account, Hold, SplitParameters
from rewards.services import place_hold, refund_answer, release_earnings, settle_answer, void_hold
from rewards.services.ledger import post, user_account
from rewards.services.reconcile import _BOOK_CHECKS
from rewards.services.settlements import split_fee, split_stakers_part

Fund = Callable[[User, int], None]
People = list[User]
PROPERTY = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

wei = st.one_of(st.integers(0, 50), st.integers(0, 2**120))
person = st.integers(0, 2)
step = st.one_of(
    st.tuples(st.just("fund"), person, st.integers(1, 2**100)),
    st.tuples(st.just("pay"), person, wei, person),
    st.tuples(st.just("hold"), person, wei),
    st.tuples(st.just("void"), st.integers(0, 9)),
    st.tuples(st.just("settle"), st.integers(0, 9), wei, person, st.lists(person, max_size=3)),
    st.tuples(st.just("refund"), st.integers(0, 9)),
    st.tuples(st.just("release")),
)


class History:
    """Does one step after another; a refusal is part of the history."""

    def __init__(self, people: People, fund: Fund) -> None:
        self.people, self.fund_person = people, fund
        self.holds: list[Hold] = []
        self.answers: list[str] = []

    def fund(self, who: int, amount: int) -> None:
        self.fund_person(self.people[who], amount)

    def pay(self, payer: int, amount: int, payee: int) -> None:
        legs = [
            (user_account(self.people[payer], Account.Kind.SPENDABLE), -amount),
            (user_account(self.people[payee], Account.Kind.SPENDABLE), amount),
        ]
        post(key=str(uuid4()), kind="test", legs=legs, reason="Test")

    def hold(self, who: int, amount: int) -> None:
        self.holds.append(place_hold(self.people[who], amount, key=str(uuid4()), reason="Answer"))

    def void(self, which: int) -> None:
        void_hold(self.holds[which])

    def settle(self, which: int, fee: int, builder: int, contributors: list[int]) -> None:
        hold, key = self.holds[which], str(uuid4())
        shares = [(self.people[who].pk, weight) for weight, who in enumerate(contributors)]
        settle_answer(
            hold=hold,
            key=key,
            fee_wei=min(fee, hold.amount_wei),
            builder=self.people[builder],
            contributor_shares=shares,
            reason="Answer",
            source_url="",
        )
        self.answers.append(key)

    def refund(self, which: int) -> None:
        refund_answer(self.answers[which])

    def release(self) -> None:
        release_earnings()


@pytest.mark.django_db
@PROPERTY
@given(steps=st.lists(step, max_size=15))
def test_any_history_keeps_the_invariants(
    steps: list[tuple[object, ...]], owner: User, builder: User, consumer: User, fund: Fund
) -> None:
    history = History([owner, builder, consumer], fund)
    for name, *arguments in steps:
        try:
            getattr(history, str(name))(*arguments)
        except (DomainError, IndexError, ValueError):
            continue
    assert {name: check() for name, check in _BOOK_CHECKS.items() if check()} == {}


ppm = st.lists(st.integers(0, 1_000_000), min_size=3, max_size=3).map(sorted)
shares = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2**64)), max_size=30)


@PROPERTY
@given(fee=st.integers(0, 2**200), cuts=ppm, shares=shares, builder=st.none() | st.integers(1, 20))
def test_a_fee_is_split_without_losing_or_making_a_wei(
    fee: int, cuts: list[int], shares: list[tuple[int, int]], builder: int | None
) -> None:
    first, second, third = cuts
    parameters = SplitParameters(
        contributors_ppm=first,
        builder_ppm=second - first,
        stakers_ppm=third - second,
        platform_ppm=1_000_000 - third,
    )
    split = split_fee(fee, parameters, builder, shares)
    rest = split.reserve_wei + split.stakers_wei + split.platform_wei + split.dust_wei
    assert sum(split.earnings.values()) + rest == fee
    assert 0 <= split.dust_wei <= 3
    assert all(amount > 0 for amount in split.earnings.values())
    assert split == split_fee(fee, parameters, builder, list(reversed(shares)))


subjects = st.sampled_from([f"datanet:{letter}" for letter in "abcdefgh"])


@PROPERTY
@given(
    part=st.integers(1, 2**200),
    targets=st.lists(st.tuples(subjects, st.integers(0, 2**40)), max_size=30),
)
def test_the_stakers_part_is_cut_to_the_wei_in_any_order(
    part: int, targets: list[tuple[str, int]]
) -> None:
    cut = split_stakers_part(part, targets)
    assert sum(cut.values()) == part
    assert all(amount > 0 for amount in cut.values())
    assert cut == split_stakers_part(part, list(reversed(targets)))
    assert ("" in cut) == (not any(weight for _, weight in targets))
