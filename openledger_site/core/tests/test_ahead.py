from __future__ import annotations

import threading
from itertools import count

import pytest

from openledger_site.core.ahead import one_ahead


def test_the_same_items_in_the_same_order():
    assert list(one_ahead(iter(range(100)))) == list(range(100))
    assert list(one_ahead(iter([]))) == []
    assert list(one_ahead(iter([None, 0]))) == [None, 0]


def test_the_next_is_made_while_this_one_is_worked_on():
    made = [threading.Event() for _ in range(3)]

    def making():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in one_ahead(making()):
        assert all(event.wait(10) for event in made[: number + 2])


def test_what_goes_wrong_is_raised_when_its_turn_comes():
    def failing():
        yield 1
        raise ValueError("broken")

    items = one_ahead(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_a_caller_that_stops_leaves_no_thread_behind():
    items = one_ahead(count())
    assert next(items) == 0
    items.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]
