"""The attribution of one answer as data, and its replay without a model and without torch."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelfactory.attribution.index import AttributionIndex, Int16, Int64
from modelfactory.attribution.method import METHOD, MethodParameters, combine
from modelfactory.attribution.shares import PayoutRule, RecordScore, SplitWithinCluster

SCHEMA = 1


class ReplayMismatchError(Exception):
    """An attribution does not follow from the index it names."""


@dataclass(frozen=True)
class ScoredRecord:
    """A listed record; ``score`` pays, ``lexical_micro`` (BM25 · 10⁶) stands beside it."""

    record_id: str
    cluster: str
    score: int
    lexical_micro: int = 0


@dataclass(frozen=True)
class Attribution:
    """Everything about the attribution of one answer, enough to recompute it to the same integers.

    ``score_unit`` is the cosine that one unit of score stands for. Log-probabilities (nats) are of
    the whole response, with and without the adapter: where they are equal the adapter, and so its
    training data, did not matter.
    """

    method: str
    parameters: MethodParameters
    base_digest: str
    adapter_digest: str
    index_digest: str
    sketch_seed: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    query_sketch: str
    """int16 little-endian, base64."""
    score_unit: float
    threshold: int
    records: tuple[ScoredRecord, ...]
    scored_records: int
    log_probability: float
    base_log_probability: float

    @property
    def attributable(self) -> bool:
        return any(record.score > self.threshold for record in self.records)

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
            fields["prompt_ids"] = tuple(fields["prompt_ids"])
            fields["response_ids"] = tuple(fields["response_ids"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"this attribution is malformed: {error}") from error

    def record_scores(self, owners: Mapping[str, str]) -> list[RecordScore]:
        """The listed records with their owners, as ``shares.compute_shares`` takes them."""
        return [
            RecordScore(record.record_id, owners[record.record_id], record.cluster, record.score)
            for record in self.records
        ]

    def payout_rule(
        self, *, clip: int | None = None, within_cluster: SplitWithinCluster = "first_owner"
    ) -> PayoutRule:
        return PayoutRule(self.threshold, clip, within_cluster)


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


def rank(index: AttributionIndex, query: Int16, parameters: MethodParameters) -> Ranking:
    """Score all records on ``query`` and keep the best; equal scores in row order."""
    scores, threshold = combine(index.scan(query), index.scan_phantoms(query), parameters)
    best = _best(scores, parameters.listed_records)
    return Ranking(best, tuple(int(scores[at]) for at in best), threshold)


def _best(scores: Int64, count: int) -> tuple[int, ...]:
    return tuple(int(at) for at in np.argsort(-scores, kind="stable")[:count])


def replay(attribution: Attribution | Mapping[str, Any], index_folder: Path) -> Attribution:
    """Recompute an attribution's integers from its query sketch and the index it names.

    Returns the attribution when all integers agree. Raises ``ReplayMismatchError`` when they do
    not, ``IndexDamagedError`` when the folder is not intact, ``ValueError`` when the document is
    malformed.
    """
    if not isinstance(attribution, Attribution):
        attribution = Attribution.from_json(attribution)
    if attribution.method != METHOD:
        raise ReplayMismatchError(f"method {attribution.method} is not {METHOD}")
    index = AttributionIndex(index_folder)
    named = (attribution.index_digest, attribution.adapter_digest, attribution.sketch_seed)
    if named != (index.digest, index.identity.adapter_digest, index.seed):
        raise ReplayMismatchError("the attribution names another index, adapter or sketch seed")
    query = decode_query(attribution.query_sketch, index.sketch.dimensions)
    ranking = rank(index, query, attribution.parameters)
    if ranking.threshold != attribution.threshold:
        raise ReplayMismatchError(
            f"threshold {attribution.threshold} replays as {ranking.threshold}"
        )
    replayed = [
        (index.records[at].record_id, index.records[at].cluster, score)
        for at, score in zip(ranking.positions, ranking.scores, strict=True)
    ]
    if replayed != [(row.record_id, row.cluster, row.score) for row in attribution.records]:
        raise ReplayMismatchError("the scores of the records do not replay")
    return attribution
