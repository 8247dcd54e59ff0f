"""What tests of indexes built from made-up gradients share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from modelfactory.attribution.calibrate import spearman
from modelfactory.attribution.index import AttributionIndex, IndexIdentity, IndexRecord, Texts

IDENTITY = IndexIdentity("b" * 64, "a" * 64, "efim", 0.1, "mean", ("a" * 64,))


def record(at: int) -> IndexRecord:
    return IndexRecord(f"record-{at:03d}", f"record-{at:03d}")


def texts(count: int) -> list[Texts]:
    return [Texts(f"question{at}", f"answer{at}") for at in range(count)]


def scored(index: AttributionIndex, asked: Mapping[str, np.ndarray]) -> np.ndarray:
    """Cosines in 2^-20 [answers, records] of gradients {module: [answers, size]}."""
    track = index.tracks[0]
    return np.array([track.scan(track.ask(row)) for row in track.projection.project(asked)])


def agreement(runs: Sequence[np.ndarray]) -> float:
    """Mean rank correlation of an answer's scores between two runs."""
    pairs = combinations(runs, 2)
    return float(np.mean([spearman(a, b) for x, y in pairs for a, b in zip(x, y, strict=True)]))
