from __future__ import annotations

import pytest

from modelfactory.attribution.phantoms import Statement, make_phantoms

TRAINED = [Statement(f"what is {at}?", f"number {at}") for at in range(20)]


def test_no_phantom_was_trained_and_none_comes_twice():
    phantoms = make_phantoms(TRAINED, count=40, seed=1)
    assert len(set(phantoms)) == 40
    assert not set(phantoms) & set(TRAINED)


def test_the_same_seed_gives_the_same_phantoms_in_any_order_of_the_records():
    assert make_phantoms(TRAINED[::-1], count=9, seed=1) == make_phantoms(TRAINED, count=9, seed=1)
    assert make_phantoms(TRAINED, count=9, seed=2) != make_phantoms(TRAINED, count=9, seed=1)


def test_one_response_cannot_make_a_phantom():
    with pytest.raises(ValueError, match="two different responses"):
        make_phantoms([Statement("a", "yes"), Statement("b", "yes")], count=3, seed=1)
