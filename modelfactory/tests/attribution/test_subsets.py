from __future__ import annotations

import numpy as np
import pytest

from modelfactory.attribution.subsets import half_subsets, membership, pretended_membership

NAMES = [f"record-{at}" for at in range(11)]


def test_every_second_subset_is_the_complement_of_the_one_before():
    found = half_subsets(NAMES, 6, seed=1)
    assert len(found) == 6
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert first | second == set(NAMES)
        assert not first & second


def test_the_same_seed_gives_the_same_subsets_in_any_order_of_the_records():
    assert half_subsets(NAMES, 4, seed=3) == half_subsets(NAMES[::-1], 4, seed=3)
    assert half_subsets(NAMES, 4, seed=3) != half_subsets(NAMES, 4, seed=4)


def test_membership_is_balanced_and_in_the_order_of_the_records():
    subsets = half_subsets(NAMES, 8, seed=1)
    signs = membership(NAMES, subsets)
    assert not signs.sum(axis=0).any()
    assert (signs[0] == 1).tolist() == [name in subsets[0] for name in NAMES]


@pytest.mark.parametrize("subsets", [4, 5])
def test_phantoms_pretend_to_be_balanced_too(subsets):
    signs = pretended_membership(9, subsets, seed=1)
    assert signs.shape == (subsets, 9)
    assert set(np.unique(signs)) == {-1, 1}
    assert not signs[:4].sum(axis=0).any()
