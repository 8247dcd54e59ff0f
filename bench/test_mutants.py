"""The list of planted bugs still fits the code, and a bug is told from a test that cannot run."""

from __future__ import annotations

from dataclasses import replace

from bench.money.cluster import REPOSITORY
from bench.money.planted_bugs import BUGS
from bench.mutants import stale_bugs


def test_each_of_thirty_bugs_still_has_its_place_once() -> None:
    assert stale_bugs(BUGS, REPOSITORY) == []
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 30


def test_a_text_that_has_gone_or_occurs_twice_is_an_error() -> None:
    gone = replace(BUGS[0], exact="this line was never written")
    twice = replace(BUGS[0], exact="import")
    assert len(stale_bugs((gone, twice), REPOSITORY)) == 2
