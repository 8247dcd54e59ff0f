"""The near-duplicate benchmark measures what it says."""

from __future__ import annotations

from bench.near_duplicates import _OURS, COPIES, _in_own_process, _reaching, generate


def test_the_rows_are_the_same_in_every_run() -> None:
    assert generate(500) == generate(500)


def test_every_planted_pair_is_one_that_the_threshold_asks_for() -> None:
    texts, pairs = generate(2_000)
    assert len(pairs) == COPIES * 2_000
    assert _reaching(texts, pairs) == len(pairs)


def test_ours_finds_what_is_planted_and_nothing_else() -> None:
    texts, pairs = generate(2_000)
    answer = _in_own_process(_OURS, texts, rounds=1)
    assert {tuple(pair) for pair in answer["pairs"]} == pairs
    assert answer["rows_s"] > 0
