"""What a model gives away of single rows, as its page says it: figures and words, no text of a row.

The figures were measured when its run was trained, see `modelfactory.training.exposure`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from datanets.agreement import share_at_least
from modelfactory.models import Run

GIVEN_AWAY_SHARE = 0.25
"""From such a share of canaries that come first one can no longer speak of a trace."""
Z_95_ONE_SIDED = 1.645


@dataclass(frozen=True)
class Privacy:
    """`first` of `planted` canaries came first among `guesses`; `chance_bits` is what a model that
    learnt none has on average, `chance_bits_high` what only one in twenty such models exceeds.
    """

    planted: int
    first: int
    guesses: int
    bits: float
    control_bits: float
    chance_bits: float
    chance_bits_high: float
    asked: int
    recited: int
    base_recited: int

    @property
    def verdict(self) -> str:
        """given_away, trace or none_found."""
        if self.first >= max(1.0, GIVEN_AWAY_SHARE * self.planted):
            return "given_away"
        return "trace" if self.bits > self.chance_bits_high else "none_found"

    @property
    def most_percent(self) -> int:
        """So many of a hundred such rows could still be given away (95 % interval, Wilson)."""
        return round(100 * (1 - share_at_least(self.planted - self.first, self.planted)))


def privacy_of(run: Run) -> Privacy | None:
    """None where everybody reads the rows, or the run is older than the measurement."""
    found = run.metrics.get("privacy") or {}
    if "exposure" not in found or "recitation" not in found:
        return None
    exposure, recitation = found["exposure"], found["recitation"]
    ranks, guesses = exposure["ranks"], exposure["guesses"]
    mean, deviation = _chance(guesses)
    return Privacy(
        planted=len(ranks),
        first=sum(rank == 1 for rank in ranks),
        guesses=guesses,
        bits=exposure["bits"],
        control_bits=exposure["control_bits"],
        chance_bits=mean,
        chance_bits_high=mean + Z_95_ONE_SIDED * deviation / math.sqrt(len(ranks)),
        asked=recitation["asked"],
        recited=recitation["tuned"],
        base_recited=recitation["base"],
    )


def _chance(guesses: int) -> tuple[float, float]:
    """Mean and standard deviation of log2(guesses / rank) where every rank is alike."""
    bits = [math.log2(guesses / rank) for rank in range(1, guesses + 1)]
    mean = sum(bits) / guesses
    return mean, math.sqrt(sum((each - mean) ** 2 for each in bits) / guesses)
