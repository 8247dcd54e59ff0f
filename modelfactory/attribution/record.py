"""The attribution of one answer as data, and its replay without a model and without torch."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelfactory.attribution.calibration import Calibration
from modelfactory.attribution.index import AttributionIndex, Int16, Int64, QuantisedQuery
from modelfactory.attribution.method import (
    CALIBRATED,
    CALIBRATED_BY_TAIL,
    CALIBRATED_UNCLIPPED,
    UNCALIBRATED,
    MethodParameters,
    Query,
    Scores,
    calibrated,
    clip_of,
    normalised_signals,
    uncalibrated,
)
from modelfactory.attribution.shares import PayoutRule, RecordScore, SplitWithinCluster

SCHEMA = 2


class ReplayMismatchError(Exception):
    """An attribution does not follow from the index it names."""


class IndexMovedOnError(Exception):
    """The index was replaced since the answer (``str``: why), and what scored it is gone."""


@dataclass(frozen=True)
class ScoredRecord:
    """A listed record; ``score`` pays, ``lexical_micro`` (BM25 · 10⁶) stands beside it.

    ``deviation`` is the score's standard deviation, in its unit; 0 where it is not known.
    """

    record_id: str
    cluster: str
    score: int
    lexical_micro: int = 0
    deviation: int = 0


@dataclass(frozen=True)
class StoredSketch:
    """One track's query: int16 little-endian in base64, and its unit."""

    values: str
    unit: int


@dataclass(frozen=True)
class StoredQuery:
    """``method.Query`` as JSON holds it."""

    sketches: tuple[StoredSketch, ...]
    prompt_words: tuple[str, ...]
    response_words: tuple[str, ...]

    @classmethod
    def of(cls, query: Query) -> StoredQuery:
        sketches = (StoredSketch(encode_query(one.values), one.unit) for one in query.sketches)
        return cls(tuple(sketches), query.prompt_words, query.response_words)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StoredQuery:
        return cls(
            tuple(StoredSketch(**one) for one in document["sketches"]),
            tuple(document["prompt_words"]),
            tuple(document["response_words"]),
        )

    def query(self, dimensions: int) -> Query:
        """Raises ``ValueError`` when a sketch is not of ``dimensions`` values."""
        sketches = (
            QuantisedQuery(decode_query(one.values, dimensions), one.unit) for one in self.sketches
        )
        return Query(tuple(sketches), self.prompt_words, self.response_words)


@dataclass(frozen=True)
class Attribution:
    """Everything about the attribution of one answer, enough to recompute it to the same integers.

    ``score_unit`` is what one unit of score stands for, ``score_of`` in what: a sum of cosines, or
    nats of the answer's log-probability. ``log_probability`` and ``base_log_probability`` (nats)
    are of the whole response, with and without the adapter: where they are equal the adapter, and
    so its training data, did not matter. ``subset_log_probabilities_micro`` and ``duals`` are of
    the calibration's retrained adapters; empty without a calibration. A score above ``clip`` is
    paid like the clip; None for methods that do not clip.
    """

    method: str
    parameters: MethodParameters
    base_digest: str
    adapter_digest: str
    index_digest: str
    calibration_digest: str
    sketch_seed: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    query: StoredQuery
    subset_log_probabilities_micro: tuple[int, ...]
    duals: tuple[int, ...]
    score_unit: float
    score_of: str
    threshold: int
    records: tuple[ScoredRecord, ...]
    scored_records: int
    log_probability: float
    base_log_probability: float
    clip: int | None = None

    @property
    def attributable(self) -> bool:
        best = max((record.score for record in self.records), default=self.threshold)
        return (best if self.clip is None else min(best, self.clip)) > self.threshold

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Attribution:
        """Raises ``ValueError`` for another schema or fields that do not fit."""
        fields = dict(document)
        if fields.pop("schema", None) != SCHEMA:
            raise ValueError("this attribution has an unknown schema")
        try:
            fields["parameters"] = MethodParameters.from_json(fields["parameters"])
            fields["records"] = tuple(ScoredRecord(**record) for record in fields["records"])
            fields["query"] = StoredQuery.from_json(fields["query"])
            for name in ("prompt_ids", "response_ids", "subset_log_probabilities_micro", "duals"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"this attribution is malformed: {error}") from error

    def record_scores(self, owners: Mapping[str, str]) -> list[RecordScore]:
        """The listed records with their owners, as ``shares.compute_shares`` takes them."""
        return [
            RecordScore(record.record_id, owners[record.record_id], record.cluster, record.score)
            for record in self.records
        ]

    def payout_rule(self, *, within_cluster: SplitWithinCluster = "first_owner") -> PayoutRule:
        return PayoutRule(self.threshold, self.clip, within_cluster)


def encode_query(values: Int16) -> str:
    return base64.b64encode(values.astype("<i2").tobytes()).decode()


def decode_query(text: str, dimensions: int) -> Int16:
    """Raises ``ValueError`` when the text is not base64 of ``dimensions`` int16 values."""
    content = base64.b64decode(text, validate=True)
    if len(content) != 2 * dimensions:
        raise ValueError(f"the query sketch has {len(content)} bytes, not {2 * dimensions}")
    return np.frombuffer(content, dtype="<i2").astype(np.int16)


@dataclass(frozen=True)
class Ranking:
    """Integer outcome of scoring one query: positions and scores of the best, and the threshold."""

    positions: tuple[int, ...]
    scores: tuple[int, ...]
    threshold: int


def rank(scores: Scores, parameters: MethodParameters) -> Ranking:
    """Keep the best records; equal scores in row order."""
    best = _best(scores.values, parameters.listed_records)
    return Ranking(best, tuple(int(scores.values[at]) for at in best), scores.threshold)


def _best(scores: Int64, count: int) -> tuple[int, ...]:
    if count < len(scores):  # all that can be among them, ties too; sorting everybody takes longer
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        among = np.flatnonzero(scores >= least)
    else:
        among = np.arange(len(scores))
    return tuple(int(at) for at in among[np.argsort(-scores[among], kind="stable")][:count])


def replay(
    attribution: Attribution | Mapping[str, Any],
    index_folder: Path,
    calibration_folder: Path | None = None,
) -> Attribution:
    """Recompute an attribution's integers from its query and the index and calibration it names.

    Returns the attribution when all integers agree. Raises ``ReplayMismatchError`` when they do
    not, ``IndexMovedOnError`` where another index has taken the place of the one that is named,
    ``IndexDamagedError`` when a folder is not intact, ``ValueError`` for a malformed document.
    """
    if not isinstance(attribution, Attribution):
        attribution = Attribution.from_json(attribution)
    index = AttributionIndex(index_folder)
    if attribution.index_digest in index.follows:
        raise IndexMovedOnError(index.follows[attribution.index_digest])
    named = (attribution.index_digest, attribution.adapter_digest, attribution.sketch_seed)
    if named != (index.digest, index.identity.adapter_digest, index.seed):
        raise ReplayMismatchError("the attribution names another index, adapter or sketch seed")
    ranking = rank(_replayed(attribution, index, calibration_folder), attribution.parameters)
    if ranking.threshold != attribution.threshold:
        raise ReplayMismatchError(
            f"threshold {attribution.threshold} replays as {ranking.threshold}"
        )
    clip = clip_of(
        attribution.method, attribution.log_probability, attribution.base_log_probability
    )
    if clip != attribution.clip:
        raise ReplayMismatchError(f"clip {attribution.clip} replays as {clip}")
    replayed = [
        (index.records[at].record_id, index.records[at].cluster, score)
        for at, score in zip(ranking.positions, ranking.scores, strict=True)
    ]
    if replayed != [(row.record_id, row.cluster, row.score) for row in attribution.records]:
        raise ReplayMismatchError("the scores of the records do not replay")
    return attribution


def _replayed(
    attribution: Attribution, index: AttributionIndex, calibration_folder: Path | None
) -> Scores:
    query = attribution.query.query(index.sketch.dimensions)
    if len(query.sketches) != len(index.tracks):
        raise ReplayMismatchError("the attribution has another number of tracks than the index")
    if attribution.method == UNCALIBRATED:
        return uncalibrated(index, query, attribution.parameters)
    if attribution.method not in (CALIBRATED, CALIBRATED_BY_TAIL, CALIBRATED_UNCLIPPED):
        raise ReplayMismatchError(f"method {attribution.method} is not known")
    if calibration_folder is None:
        raise ReplayMismatchError("the calibration that the attribution names is not here")
    calibration = Calibration(calibration_folder)
    if calibration.digest != attribution.calibration_digest:
        raise ReplayMismatchError("the attribution names another calibration")
    try:
        return calibrated(
            normalised_signals(index, query),
            calibration,
            attribution.subset_log_probabilities_micro,
            attribution.parameters,
            attribution.duals,
        )
    except ValueError as error:
        raise ReplayMismatchError(str(error)) from error
