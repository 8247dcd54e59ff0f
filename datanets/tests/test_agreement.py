"""Formulas about votes, against published figures."""

from __future__ import annotations

import pytest

from datanets.agreement import nominal_alpha, share_at_least


def test_alpha_of_krippendorffs_own_binary_example():
    """Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part A: alpha = 0.095."""
    one = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    other = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert nominal_alpha(zip(one, other, strict=True)) == pytest.approx(0.095, abs=5e-4)


def test_alpha_of_krippendorffs_own_example_with_gaps():
    """The same paper, part C: four observers, five values, gaps: alpha = 0.743."""
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [
        [value for value in unit if value is not None] for unit in zip(*observers, strict=True)
    ]
    assert nominal_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_full_agreement_is_one_and_single_votes_say_nothing():
    assert nominal_alpha([["a", "a"], ["b", "b"], ["a"]]) == 1
    assert nominal_alpha([["a"], ["b"]]) is None
    assert nominal_alpha([["a", "a"], ["a", "a"]]) is None


@pytest.mark.parametrize(
    ("right", "total", "low"), [(0, 0, 0), (3, 3, 0.438), (16, 16, 0.806), (81, 263, 0.255)]
)
def test_a_share_is_at_least_what_wilson_says(right, total, low):
    """81 of 263: Newcombe (1998), table I."""
    assert share_at_least(right, total) == pytest.approx(low, abs=1e-3)
