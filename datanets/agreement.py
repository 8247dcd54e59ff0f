"""Figures about votes, as formulas without a database: agreement, and a share's lower bound."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

Z_95 = 1.959964


def nominal_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha of nominal votes; each unit is the votes on one row.

    1 is full agreement, 0 what chance would give, below 0 is worse than chance. Rows with a single
    vote say nothing. None where no row has two votes, or where all votes are the same: then there
    is nothing to agree about. Krippendorff, Content Analysis (2004), chapter 11:
    alpha = 1 - (n - 1) Σ_rows disagreeing pairs / (m - 1) / Σ disagreeing pairs of all votes.
    """
    totals: Counter[Hashable] = Counter()
    observed = 0.0
    for votes in units:
        if len(votes) < 2:
            continue
        counts = Counter(votes)
        totals.update(counts)
        observed += _disagreeing(counts) / (len(votes) - 1)
    expected = _disagreeing(totals)
    if not expected:
        return None
    return 1 - (totals.total() - 1) * observed / expected


def _disagreeing(counts: Counter[Hashable]) -> int:
    """Ordered pairs of votes that differ."""
    return counts.total() ** 2 - sum(count * count for count in counts.values())


def share_at_least(right: float, total: float) -> float:
    """The lower end of the 95 % interval of a share, 0 to 1; 0 where nothing was counted.

    Wilson (1927). Three of three is .44, not 1: few cases prove little. Counts may be weighted.
    """
    if total <= 0:
        return 0.0
    share, square = right / total, Z_95**2 / total
    middle = share + square / 2
    spread = math.sqrt(max(0.0, square * share * (1 - share) + square**2 / 4))
    return max(0.0, (middle - spread) / (1 + square))
