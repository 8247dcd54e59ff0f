"""A hundred thousand random splits, each computed again in another way, equal to the wei."""

from __future__ import annotations

import random
from fractions import Fraction

from openledger_site.core.money import split_wei

SPLITS = 100_000


def recomputed(amount_wei: int, weights: list[int]) -> list[int]:
    """Wei by wei: each left-over one goes to whom the exact share owes most, first place first.

    Exact fractions and a search for the greatest shortfall, where `split_wei` sorts remainders.
    """
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    owed = [Fraction(amount_wei * weight, total) for weight in weights]
    parts = [share.numerator // share.denominator for share in owed]
    short = [share - part for share, part in zip(owed, parts, strict=True)]
    while sum(parts) < amount_wei:
        place = max(range(len(parts)), key=lambda at: (short[at], -at))
        parts[place] += 1
        short[place] -= 1
    return parts


def drawn(draw: random.Random) -> tuple[int, list[int]]:
    """Small and huge amounts, equal weights, zero weights, one person and many."""
    amount = draw.choice([draw.randint(0, 12), draw.randint(0, 10**18), draw.getrandbits(200)])
    people = draw.choice([1, 2, 3, draw.randint(1, 9)])
    top = draw.choice([1, 3, 10**6, 2**64])
    return amount, [draw.randint(0, top) for _ in range(people)]


def test_a_hundred_thousand_random_splits_equal_an_independent_recomputation() -> None:
    draw = random.Random(20_261_126)
    for _ in range(SPLITS):
        amount, weights = drawn(draw)
        parts = split_wei(amount, weights)
        assert parts == recomputed(amount, weights), (amount, weights)
        assert sum(parts) == (amount if any(weights) else 0)
