"""The one place where signals become the score that pays, with its versions.

``efim-2``: the sum of the influence cosines over the tracks of an index, in the metric of the
damped empirical Fisher, in 2^-20. For a model whose attribution has not been measured.

``calibrated-3``: the posterior effect of a record on the answer's log-probability, in millionths of
a nat, from the same signals, BM25 of both halves of a record, and retrained adapters
(``calibration.py``). It is clipped at what the whole adapter gave the answer: no record can have
taught more than all of them, and where the adapter made an answer no likelier nobody is paid.
Cosines are bounded, and not clipped. Earlier receipts: ``calibrated-2`` had another threshold,
``calibrated-1`` no clip either.

A record is paid for what exceeds the threshold. Without a calibration that is a high percentile of
the scores of never-trained phantom records on the same answer. With one it is the *size* of their
scores, up or down, times the gate that the calibration learnt from answers that have no source.
(``calibrated-2`` never let the threshold fall under the highest phantom. A phantom is made of
halves of real responses, so on the topic of the answer one may score as a source does, and too many
answers that have a source paid nobody: ``docs/decisions/0028-noise-gate.md``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.calibration import (
    MICRO,
    SCHEMA_OF_TAILS,
    Calibration,
    Posterior,
    normalised,
    posterior,
)
from modelfactory.attribution.index import AttributionIndex, QuantisedQuery

UNCALIBRATED, CALIBRATED = "efim-2", "calibrated-3"
CALIBRATED_BY_TAIL, CALIBRATED_UNCLIPPED = "calibrated-2", "calibrated-1"
NOBODY = 1 << 52
"""The threshold of a calibration that does not beat chance: its scores are shown and pay nobody."""
WORD_SCALE = 1 << 10
"""BM25 scores are rounded to this fraction."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MethodParameters:
    """What a method may be tuned by; every receipt carries them."""

    threshold_per_mille: int = 990
    """Percentile of the phantom scores that a record must exceed, in thousandths; uncalibrated."""
    noise_per_mille: int = 900
    """Percentile of the size of phantom scores that a calibration's gate multiplies."""
    listed_records: int = 64
    """At most this many best records are listed, and so can be paid, for one answer."""

    def __post_init__(self) -> None:
        cuts = (self.threshold_per_mille, self.noise_per_mille)
        if not all(0 < cut <= 1000 for cut in cuts) or self.listed_records < 1:
            raise ValueError("percentiles are 1..1000 per mille and at least one record is listed")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> MethodParameters:
        return cls(**document)


@dataclass(frozen=True)
class Query:
    """One answer as an index is asked about it: a sketch for each track, and hashed words."""

    sketches: tuple[QuantisedQuery, ...]
    prompt_words: tuple[str, ...]
    response_words: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """Integer scores [n] and the threshold that a score must exceed to be paid; never below 0."""

    values: Int64
    threshold: int
    posterior: Posterior | None = None
    """Of a calibrated score."""

    @property
    def duals(self) -> tuple[int, ...]:
        return self.posterior.duals if self.posterior else ()

    def deviations(self, positions: Sequence[int]) -> list[int]:
        """How unsure some records' scores are, in score units; 0 where nothing measured it."""
        return self.posterior.deviations(positions) if self.posterior else [0] * len(positions)


def signal_names(index: AttributionIndex) -> tuple[str, ...]:
    """The signals of an index, in the order of ``signals``."""
    cosines = [f"cosine-{number}" for number in range(len(index.tracks))]
    return (*cosines, "prompt-words", "response-words")


def signals(index: AttributionIndex, query: Query) -> tuple[Int64, Int64]:
    """Raw integer signals of the records [s, n] and of the phantoms [s, p]."""
    found = [track.scan(sketch) for track, sketch in _pairs(index, query)]
    phantoms = [track.scan_phantoms(sketch) for track, sketch in _pairs(index, query)]
    for lexical, words in (
        (index.lexical_prompts, query.prompt_words),
        (index.lexical_responses, query.response_words),
    ):
        scores = np.rint(lexical.scores_of(words) * WORD_SCALE).astype(np.int64)
        found.append(scores[: len(index)])
        phantoms.append(scores[len(index) :])
    return np.array(found), np.array(phantoms)


def normalised_signals(index: AttributionIndex, query: Query) -> tuple[Int64, Int64]:
    """``signals`` in the fixed point of a calibration."""
    pairs = [normalised(own, other) for own, other in zip(*signals(index, query), strict=True)]
    return np.array([own for own, _ in pairs]), np.array([other for _, other in pairs])


def uncalibrated(index: AttributionIndex, query: Query, parameters: MethodParameters) -> Scores:
    values = sum(track.scan(sketch) for track, sketch in _pairs(index, query))
    noise = sum(track.scan_phantoms(sketch) for track, sketch in _pairs(index, query))
    return Scores(np.asarray(values), _tail(np.asarray(noise), parameters))


def calibrated(
    signals: tuple[Int64, Int64],
    calibration: Calibration,
    log_probabilities_micro: Sequence[int],
    parameters: MethodParameters,
    duals: Sequence[int] | None = None,
) -> Scores:
    """Scores from ``normalised_signals``; given ``duals`` are checked and used as they are.

    Raises ``ValueError`` when given duals do not follow from the log-probabilities.
    """
    own, phantoms = signals
    found = posterior(
        own, phantoms, calibration.design, calibration.weights, log_probabilities_micro, duals
    )
    if not calibration.fidelity.get("pays"):
        return Scores(found.scores, NOBODY, found)
    unit = _tail if calibration.schema == SCHEMA_OF_TAILS else noise_of
    threshold = unit(found.phantom_scores, parameters) * calibration.gate_per_mille // 1000
    return Scores(found.scores, threshold, found)


def method_of(calibration: Calibration | None) -> str:
    """What an answer is scored by from now on; the threshold follows the calibration's kind."""
    if calibration is None:
        return UNCALIBRATED
    return CALIBRATED_BY_TAIL if calibration.schema == SCHEMA_OF_TAILS else CALIBRATED


def clip_of(method: str, log_probability: float, base_log_probability: float) -> int | None:
    """The score above which no record is paid more: the answer's log-probability with the adapter
    less that without (nats), in score units. None where the method does not clip.
    """
    if method not in (CALIBRATED, CALIBRATED_BY_TAIL):
        return None
    return max(0, round((log_probability - base_log_probability) * MICRO))


def _pairs(index: AttributionIndex, query: Query) -> Any:
    return zip(index.tracks, query.sketches, strict=True)


def noise_of(phantom_scores: Int64, parameters: MethodParameters) -> int:
    """How large scores get that mean nothing: a percentile of their size."""
    return nearest_rank(np.abs(phantom_scores), parameters.noise_per_mille)


def _tail(phantom_scores: Int64, parameters: MethodParameters) -> int:
    return max(0, nearest_rank(phantom_scores, parameters.threshold_per_mille))


def nearest_rank(values: Int64, per_mille: int) -> int:
    """The nearest-rank percentile: the smallest value with at least that share at or below it."""
    if len(values) == 0:
        raise ValueError("a threshold cannot be learnt without phantom records")
    rank = -(-len(values) * per_mille // 1000)
    return int(np.sort(values)[max(rank, 1) - 1])
