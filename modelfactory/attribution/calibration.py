"""The calibrated score: what predicts retraining on this very model, in integers that replay.

The run's recipe was repeated on M random halves of the records. For one answer let ``y_m`` be its
log-probability under retrained adapter m, standardised over m, and ``x_mi = ±½`` say whether
adapter m learnt record i. The linear datamodel (Ilyas et al. 2022) with a prior shaped by signals
``f_si`` that cost one pass over an index (gradient cosines at moments of training, BM25)::

    y_m = Σ_i x_mi w_i + ε_m,   w ~ N(μ, D + c μ μᵀ),   ε ~ N(0, s²)
    μ_i = Σ_s β_s f_si,         D_i = b₀ / n + Σ_s b_s f_si²

has the posterior mean that pays::

    w_i = μ_i + D_i Σ_m x_mi v_m + c μ_i Σ_m (x μ)_m v_m,   v = K⁻¹ (y - x μ)
    K = x D xᵀ + c (x μ)(x μ)ᵀ + s² I

The non-negative ``β, b, b₀, c, s²`` are shared by all answers of a model and fitted to calibration
questions (``calibrate.py``). With few retrainings the signals decide, with many the measurement.

Everything but ``v`` is integer arithmetic on integers that the index, the calibration and the
attribution hold; ``v`` [M] is stored with the attribution, checked on replay against its own
equation, and used as stored. So two machines get the same integers. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.index import IndexDamagedError, Int64
from modelfactory.attribution.index_files import (
    MANIFEST,
    canonical_json,
    sha256_of,
    write_array,
    write_bytes,
    written_beside,
)
from modelfactory.attribution.subsets import Signs

SCHEMA = 2
SCHEMA_OF_TAILS = 1
"""Its gate raises the 99th percentile of phantom scores (``method``)."""
IDS = "ids.json"
BITS = 20
"""Fixed point: 2^20 is one."""
ONE = 1 << BITS
MICRO = 1_000_000
"""Log-probabilities are integers of a millionth nat."""
COLUMNS_PER_BLOCK = 1_024
DUAL_TOLERANCE = 64
"""By how many 2^-20 a recomputed v may differ: other linear algebra, same equation."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """The shared parameters in fixed point, all at least 0; ``mean`` and ``spread`` by signal."""

    mean: tuple[int, ...]
    spread: tuple[int, ...]
    spread_of_all: int
    """b₀ / n"""
    scale_spread: int
    """c"""
    noise: int
    """s²"""


@dataclass(frozen=True)
class Measured:
    """One answer under the retrained adapters, in standard units."""

    standard: Float64
    """[M]"""
    deviation_micro: int
    """One standard unit in millionths of a nat."""


@dataclass(frozen=True)
class Posterior:
    """Integer scores [n] in millionths of a nat, of phantoms [p], and the dual weights [M]."""

    scores: Int64
    phantom_scores: Int64
    duals: tuple[int, ...]
    unsure: _Unsure

    def deviations(self, positions: Sequence[int]) -> list[int]:
        """Standard deviation of some records' scores, in millionths of a nat; for display."""
        return self.unsure.deviations(list(positions))


@dataclass(frozen=True)
class _Unsure:
    """What is left in the dark once the retrained adapters have spoken."""

    prior: _Prior
    signs: Signs
    noise: float
    deviation_micro: int

    def deviations(self, positions: list[int]) -> list[int]:
        chosen = self.signs[:, positions].astype(np.float64) / 2
        own = self.prior.spread[positions] / ONE
        gram = self.prior.covariance + self.noise * np.eye(len(chosen))
        explained = (chosen * np.linalg.solve(gram, chosen)).sum(axis=0) * own**2
        left = np.sqrt(np.maximum(own - explained, 0.0))
        return [round(value * self.deviation_micro) for value in left]


def normalised(records: Int64, phantoms: Int64) -> tuple[Int64, Int64]:
    """One signal in fixed point, of length two over the records; phantoms by the same factor.

    Of length two, since half of the records are in a subset: ``Σ x_mi f_i`` then has variance one.
    """
    peak = int(np.abs(records).max(initial=0))
    shift = max(0, peak.bit_length() - BITS)
    small, small_phantoms = np.right_shift(records, shift), np.right_shift(phantoms, shift)
    length = math.isqrt(int((small * small).sum()))
    if length == 0:
        return np.zeros_like(records), np.zeros_like(phantoms)
    return (small << (BITS + 1)) // length, (small_phantoms << (BITS + 1)) // length


def standardise(log_probabilities_micro: Sequence[int]) -> Measured:
    """Centre and scale the log-probabilities; equal ones say nothing and give zeros."""
    values = np.array(log_probabilities_micro, dtype=np.int64)
    centred = (values - values.sum() // len(values)).astype(np.float64)
    deviation = math.isqrt(int(np.dot(centred, centred)) // len(values))
    return Measured(centred / deviation if deviation else centred * 0, deviation)


@dataclass(frozen=True)
class _Prior:
    mean: Int64
    spread: Int64
    projected: Int64
    """[M]: x μ"""
    covariance: Float64
    """[M, M]: x D xᵀ"""


def _prior(signals: Int64, weights: Weights, signs: Signs) -> _Prior:
    """Prior mean and variance [n] from normalised signals [s, n]."""
    mean = np.zeros(signals.shape[1], dtype=np.int64)
    spread = np.full_like(mean, weights.spread_of_all)
    for row, beta, b in zip(signals, weights.mean, weights.spread, strict=True):
        mean += np.right_shift(row * np.int64(beta), BITS)
        spread += np.right_shift(np.right_shift(row * row, BITS) * np.int64(b), BITS)
    return _Prior(mean, spread, *_through_retrainings(mean, spread, signs))


def _through_retrainings(mean: Int64, spread: Int64, signs: Signs) -> tuple[Int64, Float64]:
    """``x μ`` [M], exact, and ``x D xᵀ`` [M, M]; blocks of columns that stay in the cache."""
    twice = np.zeros(len(signs), dtype=np.int64)
    covariance = np.zeros((len(signs),) * 2)
    for start in range(0, len(mean), COLUMNS_PER_BLOCK):
        block = slice(start, start + COLUMNS_PER_BLOCK)
        twice += signs[:, block].astype(np.int64) @ mean[block]
        rooted = signs[:, block] * np.sqrt(spread[block] / (4 * ONE))
        covariance += rooted @ rooted.T
    return np.right_shift(twice, 1), covariance


def _duals(prior: _Prior, weights: Weights, measured: Measured) -> Float64:
    projected = prior.projected / ONE
    gram = prior.covariance + weights.noise / ONE * np.eye(len(projected))
    gram += weights.scale_spread / ONE * np.outer(projected, projected)
    return np.asarray(np.linalg.solve(gram, measured.standard - projected), dtype=np.float64)


def _scores(
    prior: _Prior, weights: Weights, signs: Signs, duals: Sequence[int], on_mean: int
) -> Int64:
    """Posterior means [n] in standard units, fixed point."""
    along, wanted = np.zeros(len(prior.mean), dtype=np.int64), np.array(duals, dtype=np.int64)
    for start in range(0, len(along), COLUMNS_PER_BLOCK):
        block = slice(start, start + COLUMNS_PER_BLOCK)
        along[block] = wanted @ signs[:, block].astype(np.int64)
    own = np.right_shift(prior.spread * np.right_shift(along, 1), BITS)
    shared = np.right_shift(
        np.right_shift(prior.mean * np.int64(weights.scale_spread), BITS) * np.int64(on_mean), BITS
    )
    return np.asarray(prior.mean + own + shared, dtype=np.int64)


@dataclass(frozen=True)
class Design:
    """Who was in which retraining: records [M, n] and pretended memberships of phantoms [M, p]."""

    records: Signs
    phantoms: Signs


def posterior(
    signals: Int64,
    phantom_signals: Int64,
    design: Design,
    weights: Weights,
    log_probabilities_micro: Sequence[int],
    duals: Sequence[int] | None = None,
) -> Posterior:
    """Scores from normalised signals [s, n] and [s, p]. With ``duals`` given they are checked.

    Raises ``ValueError`` when the given duals do not solve their equation.
    """
    measured = standardise(log_probabilities_micro)
    prior = _prior(signals, weights, design.records)
    solved = [round(value * ONE) for value in _duals(prior, weights, measured)]
    if duals is None:
        duals = solved
    elif len(duals) != len(solved) or any(
        abs(one - other) > DUAL_TOLERANCE for one, other in zip(duals, solved, strict=True)
    ):
        raise ValueError("the dual weights do not follow from the log-probabilities")
    on_mean = sum(int(a) * int(b) for a, b in zip(prior.projected, duals, strict=True)) >> BITS
    scale = np.int64(measured.deviation_micro)
    phantoms = _prior(phantom_signals, weights, design.phantoms)
    return Posterior(
        np.right_shift(_scores(prior, weights, design.records, duals, on_mean) * scale, BITS),
        np.right_shift(_scores(phantoms, weights, design.phantoms, duals, on_mean) * scale, BITS),
        tuple(duals),
        _Unsure(prior, design.records, weights.noise / ONE, measured.deviation_micro),
    )


@dataclass(frozen=True)
class CalibrationIdentity:
    """What a calibration was made of; ``subsets`` are the digests of the retrained adapters."""

    adapter_digest: str
    index_digest: str
    signals: tuple[str, ...]
    subsets: tuple[str, ...]


def calibration_folder(indexes: Path, adapter_digest: str) -> Path:
    """Where the calibration of an adapter lies: beside its index."""
    return indexes / f"{adapter_digest}.calibration"


def write_calibration(
    folder: Path,
    *,
    identity: CalibrationIdentity,
    weights: Weights,
    gate_per_mille: int,
    design: Design,
    record_ids: Sequence[str],
    fidelity: Mapping[str, Any],
    schema: int = SCHEMA,
) -> str:
    """Write a calibration folder; ``record_ids`` name the design's columns. Returns its digest."""
    if len(record_ids) != design.records.shape[1]:
        raise ValueError("a design has one column for each record")
    with written_beside(folder) as building:
        for name, signs in (("records.npy", design.records), ("phantoms.npy", design.phantoms)):
            write_array(building / name, signs)
        write_bytes(building / IDS, canonical_json(list(record_ids)))
        manifest = {
            "schema": schema,
            "identity": asdict(identity),
            "weights": asdict(weights),
            "gate_per_mille": gate_per_mille,
            "fidelity": dict(fidelity),
            "files": {path.name: sha256_of(path) for path in sorted(building.iterdir())},
        }
        content = canonical_json(manifest)
        write_bytes(building / MANIFEST, content)
    return hashlib.sha256(content).hexdigest()


class CalibrationDamagedError(IndexDamagedError):
    """A file of a calibration is missing or has changed; its index may be well."""


class Calibration:
    """An opened calibration folder. Raises ``CalibrationDamagedError`` when it is not intact."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            content = (folder / MANIFEST).read_bytes()
            manifest = json.loads(content)
            self.schema = int(manifest["schema"])
            if self.schema not in (SCHEMA, SCHEMA_OF_TAILS):
                raise CalibrationDamagedError(f"{folder.name}: schema {self.schema} is not known")
            damaged = [
                name
                for name, digest in manifest["files"].items()
                if sha256_of(folder / name) != digest
            ]
            identity, weights = manifest["identity"], manifest["weights"]
            self.identity = CalibrationIdentity(
                identity["adapter_digest"],
                identity["index_digest"],
                tuple(identity["signals"]),
                tuple(identity["subsets"]),
            )
            self.weights = Weights(
                **{**weights, "mean": tuple(weights["mean"]), "spread": tuple(weights["spread"])}
            )
            self.gate_per_mille = int(manifest["gate_per_mille"])
            self.fidelity: dict[str, Any] = manifest["fidelity"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationDamagedError(
                f"{folder.name}: no readable calibration: {error}"
            ) from error
        if damaged:
            raise CalibrationDamagedError(f"{folder.name}: {damaged[0]} has another digest")
        self.digest = hashlib.sha256(content).hexdigest()

    @cached_property
    def record_ids(self) -> tuple[str, ...]:
        """The records of the design's columns; none where an older program wrote it."""
        path = self._folder / IDS
        return tuple(json.loads(path.read_bytes())) if path.is_file() else ()

    @cached_property
    def design(self) -> Design:
        records = np.load(self._folder / "records.npy", allow_pickle=False)
        return Design(records, np.load(self._folder / "phantoms.npy", allow_pickle=False))
