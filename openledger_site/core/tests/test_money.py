"""Whole wei, exact splits, amounts that never read as more or less than they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_site.core.money import (
    WEI_MAX,
    WEI_PER_OPEN,
    WeiField,
    format_open,
    parse_open,
    split_wei,
)

amounts = st.integers(min_value=0, max_value=WEI_MAX)
weights = st.lists(st.integers(min_value=0, max_value=10**30), min_size=1, max_size=50)


@given(amounts, weights)
def test_the_parts_of_a_split_sum_to_the_whole(amount, weights):
    assert sum(split_wei(amount, weights)) == (amount if sum(weights) else 0)


@given(amounts, weights)
def test_no_part_is_more_than_a_wei_off_its_exact_share(amount, weights):
    total = sum(weights)
    for part, weight in zip(split_wei(amount, weights), weights, strict=True):
        assert total == 0 or abs(part * total - amount * weight) < total


@given(amounts, weights)
def test_who_weighs_nothing_gets_nothing(amount, weights):
    for part, weight in zip(split_wei(amount, weights), weights, strict=True):
        assert weight or not part


@given(amounts, weights)
def test_splitting_is_monotone_in_the_weights(amount, weights):
    parts = split_wei(amount, weights)
    ranked = sorted(zip(weights, parts, strict=True))
    for (light, less), (heavy, more) in pairwise(ranked):
        assert light == heavy or less <= more


def test_equal_remainders_go_to_the_earlier_place():
    assert split_wei(2, [1, 1, 1]) == [1, 1, 0]


@pytest.mark.parametrize(("amount", "weights"), [(-1, [1]), (1, [-1, 2])])
def test_negative_amounts_and_weights_are_refused(amount, weights):
    with pytest.raises(ValueError, match="negative"):
        split_wei(amount, weights)


@given(amounts)
def test_an_amount_written_in_full_reads_back(amount):
    whole, fraction = divmod(amount, WEI_PER_OPEN)
    assert parse_open(f"{whole}.{fraction:018d}") == amount


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0"),
        (4_200_000_000_000_000, "0.0042"),
        (1, "<0.0001"),
        (10**18, "1"),
        (1_999_999_999_999_999_999, "1.9999"),
        (-5 * 10**17, "-0.5"),
        (12_345 * 10**18, "12,345"),
    ],
)
def test_amounts_are_shown_rounded_down_and_never_as_nothing(wei, text):
    assert format_open(wei) == text


@pytest.mark.parametrize("text", ["", ".", "-1", "1e3", "1,5", "0x1", "1.0000000000000000001", "٣"])
def test_what_is_not_an_amount_is_refused(text):
    with pytest.raises(ValueError, match="OPEN"):
        parse_open(text)


@pytest.mark.parametrize("value", [1.0, "1.5", "1e5", "NaN", "1" * 80])
def test_the_field_refuses_what_is_not_whole_wei(value):
    with pytest.raises(Exception, match="wei"):
        WeiField().get_db_prep_save(value, None)
