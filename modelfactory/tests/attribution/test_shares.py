from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfactory.attribution.shares import (
    NO_ATTRIBUTABLE_SOURCE,
    PARTS,
    PayoutRule,
    RecordScore,
    compute_shares,
    largest_remainder,
)

RULE = PayoutRule(threshold=10)


def row(record_id: str, score: int, owner: str = "ada", cluster: str | None = None) -> RecordScore:
    return RecordScore(record_id, owner, cluster or record_id, score)


@given(
    st.integers(0, 10**24),
    st.dictionaries(st.text(max_size=3), st.integers(0, 10**18), min_size=1).filter(
        lambda weights: any(weights.values())
    ),
)
def test_a_split_sums_to_the_total_and_is_within_one_unit_of_exact(total, weights):
    parts = largest_remainder(total, weights)
    weight_sum = sum(weights.values())
    assert sum(parts.values()) == total
    assert all(abs(parts[k] * weight_sum - total * w) < weight_sum for k, w in weights.items())


def test_equal_remainders_go_to_the_smaller_key_in_any_order():
    assert largest_remainder(5, {"b": 1, "a": 1, "c": 1}) == {"a": 2, "b": 2, "c": 1}


def test_shares_are_in_proportion_to_the_score_above_the_threshold():
    shares = compute_shares([row("one", 40), row("two", 20, "bob"), row("low", 10, "eve")], RULE)
    assert shares.owner_parts == {"ada": 750_000_000, "bob": 250_000_000}


def test_nothing_above_the_threshold_has_no_attributable_source():
    assert compute_shares([row("one", 10), row("two", -5)], RULE) == NO_ATTRIBUTABLE_SOURCE


def test_copies_of_a_row_earn_what_the_row_alone_earns():
    honest = [row("one", 40), row("two", 40, "bob")]
    copies = [row(f"copy{at}", 99, "eve", cluster="one") for at in range(5)]
    assert compute_shares(honest + copies, RULE) == compute_shares(honest, RULE)


def test_a_cluster_may_be_split_equally_among_its_owners_but_not_by_copies():
    rule = PayoutRule(threshold=10, within_cluster="equal_owners")
    rows = [row("one", 40), row("x", 9, "bob", "one"), row("y", 9, "bob", "one")]
    assert compute_shares(rows, rule).owner_parts == {"ada": PARTS // 2, "bob": PARTS // 2}


def test_a_cluster_without_its_canonical_row_is_not_paid():
    rows = [row("copy", 90, "eve", cluster="missing"), row("one", 20)]
    assert compute_shares(rows, RULE).owner_parts == {"ada": PARTS}


def test_a_clip_bounds_what_an_outlier_can_take():
    rows = [row("one", 10_000, "eve"), row("two", 30)]
    shares = compute_shares(rows, PayoutRule(threshold=10, clip=30))
    assert shares.owner_parts == {"eve": PARTS // 2, "ada": PARTS // 2}


@given(
    st.lists(st.tuples(st.integers(-50, 200), st.sampled_from("abc")), max_size=30), st.randoms()
)
def test_parts_sum_to_the_whole_and_do_not_depend_on_the_order(scored, random):
    rows = [row(f"r{at}", score, owner) for at, (score, owner) in enumerate(scored)]
    shares = compute_shares(rows, RULE)
    shuffled = random.sample(rows, len(rows))
    assert compute_shares(shuffled, RULE) == shares
    assert sum(shares.owner_parts.values()) == sum(shares.record_parts.values())
    assert sum(shares.owner_parts.values()) == (PARTS if shares.attributable else 0)


@pytest.mark.parametrize("score", [1.5, True, "9"])
def test_a_score_that_is_not_an_integer_is_refused(score):
    with pytest.raises(TypeError, match="not an integer"):
        compute_shares([row("one", score)], RULE)


def test_a_record_scored_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        compute_shares([row("one", 20), row("one", 30)], RULE)
