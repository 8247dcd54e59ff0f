"""Live progress: without a reload, across a reload, and with the hint channel dead."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_the_step_grows_without_a_reload(walk):
    assert walk.seen["step, live"] > walk.seen["step, first"]
    assert walk.seen["no reload between"]


def test_a_reload_in_the_middle_loses_nothing(walk):
    assert walk.seen["step after reload"] >= walk.seen["step, live"]


def test_a_window_whose_socket_always_breaks_sees_the_same_progress(walk):
    assert walk.seen["step without hints"] > walk.seen["step, first"]


def test_the_window_without_hints_reaches_the_verdict(walk):
    assert walk.seen["verdict without hints"] == walk.seen["verdict"]
