"""Reputation: what raises it, what lowers it, what cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st

from openledger_site.accounts.models import User
from rewards.models import EarningLine, Reputation, Settlement, SlashCase
from rewards.reputation import DecidedRows, Evidence, rejections, voices
from rewards.selectors.reputation import grounds_of
from rewards.services import measure_reputations, refund_answer
from rewards.tests.conftest import OPEN, Fund, settled

UNIT = 10**16
weights = st.floats(0, 1e6, allow_nan=False)
wei = st.integers(0, 10**24)


@given(weights, weights, weights)
def test_a_score_stays_between_zero_and_999(bought: float, lost: float, faults: float) -> None:
    assert 0 <= Evidence(bought, lost, faults).score <= 999


@given(st.lists(wei, max_size=20))
def test_voices_cost_at_least_their_price_however_many_payers_they_come_from(
    paid: list[int],
) -> None:
    assert voices(paid, UNIT) <= min(len(paid), sum(paid) / UNIT) * (1 + 1e-9)


@given(weights, weights, st.lists(st.tuples(weights, weights), max_size=5))
def test_rows_approved_elsewhere_outweigh_no_rejection(
    approved: float, rejected: float, elsewhere: list[tuple[float, float]]
) -> None:
    here = DecidedRows("here", approved, rejected)
    others = [DecidedRows(str(at), *rows) for at, rows in enumerate(elsewhere)]
    assert rejections([here, *others]) >= rejections([here]) >= 0


def test_ten_full_voices_are_worth_half_and_each_halving_halves() -> None:
    assert Evidence(voices=10).score == 500
    assert Evidence(voices=10, faults=1).score == 250
    assert Evidence(voices=10, rejections=1).score == 250
    assert Evidence().score == 0


def test_a_fifth_of_rejected_rows_is_forgiven_and_few_rows_say_little() -> None:
    assert rejections([DecidedRows("a", 80, 20)]) == 0
    assert rejections([DecidedRows("a", 0, 100)]) == 1
    assert rejections([DecidedRows("a", 0, 2)]) == pytest.approx(0.1)
    assert rejections([DecidedRows("a", 60, 40)]) == pytest.approx(0.25)


pytestmark = pytest.mark.django_db


@pytest.fixture
def payer(make_user: Callable[..., User], fund: Fund) -> User:
    user = make_user("Penny")
    fund(user, 100 * OPEN)
    return user


def measured(user: User) -> Reputation:
    measure_reputations()
    return Reputation.objects.get(user=user)


def age(model: type[Settlement] | type[SlashCase], days: int) -> None:
    model.objects.update(created_at=Now() - timedelta(days=days))


def test_a_payer_counts_by_what_the_answers_paid_to_the_platform(
    payer: User, contributor: User, owner: User
) -> None:
    paid = settled(payer, owner, contributor, "a")
    expected = min(1.0, paid.platform_wei / settings.REPUTATION_VOICE_WEI)
    found = measured(contributor)
    assert found.payers == 1
    assert found.voices == pytest.approx(expected)
    assert found.score == Evidence(voices=found.voices).score > 0


def test_the_part_of_an_answer_that_others_rows_moved_is_theirs(
    payer: User, contributor: User, owner: User, reviewer: User
) -> None:
    shares = [(contributor.pk, 1), (reviewer.pk, 3)]
    paid = settled(payer, owner, contributor, "a", contributor_shares=shares)
    ones, others = grounds_of()[contributor.pk], grounds_of()[reviewer.pk]
    assert ones.paid_wei[0] == pytest.approx(paid.platform_wei / 4)
    assert ones.paid_wei[0] + others.paid_wei[0] == pytest.approx(paid.platform_wei)


def test_paying_for_answers_from_ones_own_rows_raises_nothing(
    contributor: User, owner: User, fund: Fund
) -> None:
    fund(contributor, 50 * OPEN)
    for at in range(5):
        settled(contributor, owner, contributor, f"own-{at}")
    measure_reputations()
    assert not Reputation.objects.filter(score__gt=0).exists()


def test_a_refund_takes_its_voice_back(payer: User, contributor: User, owner: User) -> None:
    settled(payer, owner, contributor, "a")
    assert measured(contributor).score > 0
    refund_answer("a", reason="Wrong answer")
    assert EarningLine.objects.filter(state="refunded").exists()
    assert measured(contributor).score == 0


def test_what_was_paid_counts_half_after_180_days(
    payer: User, contributor: User, owner: User
) -> None:
    settled(payer, owner, contributor, "a")
    fresh = grounds_of()[contributor.pk].paid_wei[0]
    age(Settlement, 180)
    assert grounds_of()[contributor.pk].paid_wei[0] == pytest.approx(fresh / 2, rel=1e-4)


def test_a_slash_that_was_carried_out_halves_and_one_that_was_overturned_does_not(
    payer: User, contributor: User, owner: User, reviewer: User
) -> None:
    settled(payer, owner, contributor, "a")
    case = SlashCase.objects.create(
        chain_id=1,
        target="0x" + "11" * 32,
        subject="datanet:1",
        amount_wei=1,
        decision="Copied rows.",
        evidence="0x" + "22" * 32,
        owner=contributor,
        state=SlashCase.State.OVERTURNED,
        decided_by=reviewer,
    )
    assert measured(contributor).faults == 0
    SlashCase.objects.filter(pk=case.pk).update(state=SlashCase.State.EXECUTED)
    assert measured(contributor).faults == pytest.approx(1, rel=1e-4)
    age(SlashCase, 365)
    assert measured(contributor).faults == pytest.approx(0.5, rel=1e-4)
