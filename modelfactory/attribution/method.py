"""The one place where signals become the score that pays, with its version.

``efim-1``: the score is the influence cosine in the metric of the damped empirical Fisher, in
integers; the threshold is a high percentile of the scores of never-trained phantom records on the
same query. BM25 is reported beside it and pays nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

METHOD = "efim-1"

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MethodParameters:
    """What ``efim-1`` may be tuned by; every receipt carries them."""

    threshold_per_mille: int = 990
    """Percentile of the phantom scores that a record must exceed, in thousandths."""
    listed_records: int = 64
    """At most this many best records are listed, and so can be paid, for one answer."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold_per_mille <= 1000 or self.listed_records < 1:
            raise ValueError("the threshold is 1..1000 per mille and at least one record is listed")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> MethodParameters:
        return cls(**document)


def nearest_rank(values: Int64, per_mille: int) -> int:
    """The nearest-rank percentile: the smallest value with at least that share at or below it."""
    rank = -(-len(values) * per_mille // 1000)
    return int(np.sort(values)[max(rank, 1) - 1])


def combine(
    influence: Int64, phantom_influence: Int64, parameters: MethodParameters
) -> tuple[Int64, int]:
    """Integer scores [n] and the threshold that a score must exceed to be paid; never below 0."""
    if len(phantom_influence) == 0:
        raise ValueError("a threshold cannot be learnt without phantom records")
    return influence, max(0, nearest_rank(phantom_influence, parameters.threshold_per_mille))
