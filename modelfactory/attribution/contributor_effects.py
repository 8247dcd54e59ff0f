"""What contributors' rows did to a model, from the held-out losses of repeated runs. No torch.

The run is repeated R times with all rows and R times without one contributor's rows, each time with
seeds of its own. A contributor's effect is how much the mean loss of the held-out questions rises
without their rows (leave-one-out; Koh & Liang 2017), in nats per response token: above zero, the
rows made the model better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Effect:
    """A rise of loss in nats per response token with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


def effect(mean: float, variance: float) -> Effect:
    """The interval of a mean whose sampling variance is known; normal approximation."""
    reach = NORMAL_95 * math.sqrt(variance)
    return Effect(mean, mean - reach, mean + reach)


def removal_effects(with_all: Float64, without: Mapping[str, Float64]) -> dict[str, Effect]:
    """Effects from losses [R, Q] of R repeats on Q questions, with all rows and without each key's.

    Two things make the mean uncertain, and their variances are added: which questions were asked
    (the spread over questions, by Q), and the luck of a run (the spread over repeats, by R). The
    second is pooled over contributors, since two or three repeats of one say little. With one
    repeat luck cannot be told from effect, and the interval holds the questions only.

    Raises ``ValueError`` when the shapes differ or nothing was asked.
    """
    repeats, questions = with_all.shape
    if questions == 0 or any(losses.shape != with_all.shape for losses in without.values()):
        raise ValueError("every repeat needs the losses of the same questions, at least of one")
    rises = {key: losses - with_all for key, losses in without.items()}
    luck = 0.0
    if repeats > 1 and rises:
        spreads = [np.var(rise.mean(axis=1), ddof=1) for rise in rises.values()]
        luck = float(np.mean(spreads)) / repeats
    return {
        key: effect(float(rise.mean()), _spread_of_mean(rise.mean(axis=0)) + luck)
        for key, rise in rises.items()
    }


def estimated_effects(
    scores: Float64, deviations: Float64, groups: Mapping[str, list[int]]
) -> dict[str, Effect]:
    """Effects of groups of records from the scores of records [Q, n] on Q questions.

    Scores and their deviations are nats per response token. Added to the spread over questions is
    what the scores themselves are unsure of, as if records were independent.
    """
    found = {}
    for key, positions in groups.items():
        sums = scores[:, positions].sum(axis=1)
        unsure = float((deviations[:, positions] ** 2).sum()) / len(sums) ** 2
        found[key] = effect(float(sums.mean()), _spread_of_mean(sums) + unsure)
    return found


def _spread_of_mean(values: Float64) -> float:
    """Sampling variance of the mean of [Q]; nothing is known of it from one value."""
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0
