"""Waiting ends on time, and a machine that stood still has not waited."""

from __future__ import annotations

import time

import pytest

from openledger_site.core import waiting
from openledger_site.core.waiting import rounds


def test_it_gives_up_after_the_time() -> None:
    began = time.monotonic()
    turns = sum(1 for _ in rounds(0.05, pause_seconds=0.01))
    assert turns >= 2
    assert time.monotonic() - began >= 0.05


def test_something_that_holds_by_the_last_turn_is_seen() -> None:
    assert sum(1 for _ in rounds(0, pause_seconds=60)) == 1


def test_a_clock_that_leaps_ahead_does_not_end_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 40))
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: None)
    assert sum(1 for _ in rounds(30)) == 31
