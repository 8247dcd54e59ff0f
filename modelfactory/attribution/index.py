"""The index folder of one adapter: what is needed to score its training records, and to replay.

::

    manifest.json           written last; digests of all other files; its sha256 names the index
    rows-00000.int8         [n, k] sketched gradients of the records, memory-mapped, in shards
    phantoms.int8           [m, k] the same of never-trained records
    multipliers.npy         [n] uint32: 2^24 · smallest row norm / row norm, in the metric P
    phantom_multipliers.npy [m]
    records.json            record ids and the canonical record of each one's duplicate cluster
    curvature-000.npy …     P of each module [k_l, k_l] float64
    lexical.json            salted word hashes of the record texts, for BM25

Integer scoring: the folded query is rounded to int16, ``dot = rows · query`` is exact in int64, and
``score = (dot · multiplier) >> 24``. The folder is written beside its place, renamed into it and
never changed afterwards. Two builds of the same input have the same digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.influence import Curvature, CurvatureKind, make_curvature
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.attribution.sketch import (
    Float32,
    Float64,
    Int8,
    ModuleSketch,
    Sketch,
    quantise_rows,
)

SCHEMA = 1
MULTIPLIER_BITS = 24
QUERY_LIMIT = 32767
MAXIMUM_DIMENSIONS = 65_536
ROWS_PER_SHARD = 262_144
SCAN_BLOCK_ROWS = 8_192

Int16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]
UInt32 = npt.NDArray[np.uint32]


class IndexDamagedError(Exception):
    """A file of the index folder is missing, has changed, or is not what its manifest says."""


@dataclass(frozen=True)
class IndexRecord:
    """A row of the index. ``cluster`` is the record id of its cluster's canonical record."""

    record_id: str
    cluster: str


@dataclass(frozen=True)
class IndexIdentity:
    """What the index was made from; part of its digest."""

    base_digest: str
    adapter_digest: str
    curvature: CurvatureKind
    damping: float
    loss: str


@dataclass(frozen=True)
class QuantisedQuery:
    """A folded, unit-length query [k] as int16; ``values * scale`` is the float vector."""

    values: Int16
    scale: float


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _canonical_json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _write_array(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())


def _multipliers(norms: Float64, smallest: float) -> UInt32:
    scaled = np.divide(smallest, norms, out=np.zeros_like(norms), where=norms > 0)
    multipliers: UInt32 = np.rint(scaled * (1 << MULTIPLIER_BITS)).astype(np.uint32)
    return multipliers


def _balance(rows: Float32, slices: tuple[slice, ...]) -> Float64:
    """The root mean square of each module's block: rows are divided by it before int8."""
    squares = [float(np.mean(np.square(rows[:, part], dtype=np.float64))) for part in slices]
    return np.array([np.sqrt(square) if square > 0 else 1.0 for square in squares])


def _balanced(values: Float32, slices: tuple[slice, ...], balance: Float64) -> Float32:
    result = values.astype(np.float32, copy=True)
    for part, factor in zip(slices, balance, strict=True):
        result[..., part] /= np.float32(factor)
    return result


def write_index(
    folder: Path,
    *,
    identity: IndexIdentity,
    sketch: Sketch,
    records: Sequence[IndexRecord],
    rows: Float32,
    phantoms: Float32,
    texts: Sequence[str],
) -> str:
    """Write the index of ``rows`` [n, k] and ``phantoms`` [m, k] to ``folder``; returns its digest.

    ``records`` and ``texts`` are in row order. Raises ``ValueError`` for shapes that do not fit,
    values that are not finite, no phantoms, or repeated record ids.
    """
    _check_input(sketch, records, rows, phantoms, texts)
    slices = sketch.slices
    balance = _balance(rows, slices)
    row_values, row_scales = quantise_rows(_balanced(rows, slices, balance))
    phantom_values, _ = quantise_rows(_balanced(phantoms, slices, balance))
    dequantised = row_values.astype(np.float64) * row_scales.astype(np.float64)[:, None]
    curvature = make_curvature(identity.curvature, dequantised, slices, identity.damping)
    row_norms, phantom_norms = curvature.norms(row_values), curvature.norms(phantom_values)
    positive = np.concatenate([row_norms, phantom_norms])
    smallest = float(positive[positive > 0].min(initial=1.0 if not positive.any() else np.inf))

    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for number, start in enumerate(range(0, len(records), ROWS_PER_SHARD)):
        shard = row_values[start : start + ROWS_PER_SHARD]
        _write(building / f"rows-{number:05d}.int8", shard.tobytes())
    _write(building / "phantoms.int8", phantom_values.tobytes())
    _write_array(building / "multipliers.npy", _multipliers(row_norms, smallest))
    _write_array(building / "phantom_multipliers.npy", _multipliers(phantom_norms, smallest))
    _write(building / "records.json", _canonical_json([asdict(record) for record in records]))
    for number, inverse in enumerate(curvature.inverses or ()):
        _write_array(building / f"curvature-{number:03d}.npy", inverse)
    lexical = LexicalIndex.from_texts(texts, identity.adapter_digest.encode()[:64])
    _write(building / "lexical.json", _canonical_json(lexical.corpus))
    manifest = {
        "schema": SCHEMA,
        "identity": asdict(identity),
        "modules": [asdict(module) for module in sketch.modules],
        "balance": balance.tolist(),
        "smallest_norm": smallest,
        "records": len(records),
        "phantoms": int(phantoms.shape[0]),
        "files": {
            path.name: {"sha256": _sha256(path), "bytes": path.stat().st_size}
            for path in sorted(building.iterdir())
        },
    }
    _write(building / "manifest.json", _canonical_json(manifest))
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return _sha256(folder / "manifest.json")


def _check_input(
    sketch: Sketch,
    records: Sequence[IndexRecord],
    rows: Float32,
    phantoms: Float32,
    texts: Sequence[str],
) -> None:
    width = sketch.dimensions
    if width > MAXIMUM_DIMENSIONS:
        raise ValueError(f"at most {MAXIMUM_DIMENSIONS} dimensions keep scores inside int64")
    if rows.shape != (len(records), width) or phantoms.shape[1:] != (width,):
        raise ValueError(f"rows {rows.shape} or phantoms {phantoms.shape} are not [n, {width}]")
    if len(texts) != len(records) or not len(records) or not len(phantoms):
        raise ValueError("an index needs records, a text for each, and phantoms")
    if len({record.record_id for record in records}) != len(records):
        raise ValueError("a record id occurs twice")
    if not (np.isfinite(rows).all() and np.isfinite(phantoms).all()):
        raise ValueError("a gradient is not finite")


class AttributionIndex:
    """An opened index folder; the rows stay on disk."""

    def __init__(self, folder: Path, *, verify: bool = True) -> None:
        """Open ``folder``; ``verify`` reads every file once. Raises ``IndexDamagedError``."""
        self.folder = folder
        try:
            content = (folder / "manifest.json").read_bytes()
            self.manifest: dict[str, Any] = json.loads(content)
        except (OSError, ValueError) as error:
            raise IndexDamagedError(f"{folder.name}: no readable manifest") from error
        if self.manifest.get("schema") != SCHEMA:
            raise IndexDamagedError(
                f"{folder.name}: schema {self.manifest.get('schema')} is not known"
            )
        self.digest = hashlib.sha256(content).hexdigest()
        self._check_files(verify)
        self.identity = IndexIdentity(**self.manifest["identity"])
        self.sketch = Sketch(tuple(ModuleSketch(**item) for item in self.manifest["modules"]))
        self.smallest_norm: float = self.manifest["smallest_norm"]

    def _check_files(self, verify: bool) -> None:
        for name, expected in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != expected["bytes"]:
                raise IndexDamagedError(f"{name}: missing or not {expected['bytes']} bytes")
            if verify and _sha256(path) != expected["sha256"]:
                raise IndexDamagedError(f"{name}: its digest is not the one in the manifest")

    def __len__(self) -> int:
        return int(self.manifest["records"])

    @property
    def seed(self) -> int:
        return self.sketch.modules[0].seed

    @cached_property
    def records(self) -> tuple[IndexRecord, ...]:
        items = json.loads((self.folder / "records.json").read_bytes())
        return tuple(IndexRecord(**item) for item in items)

    @cached_property
    def curvature(self) -> Curvature:
        slices = self.sketch.slices
        if self.identity.curvature == "identity":
            return Curvature(slices, None)
        paths = [self.folder / f"curvature-{number:03d}.npy" for number in range(len(slices))]
        return Curvature(slices, tuple(np.load(path, allow_pickle=False) for path in paths))

    @cached_property
    def lexical(self) -> LexicalIndex:
        corpus = json.loads((self.folder / "lexical.json").read_bytes())
        return LexicalIndex(corpus, self.identity.adapter_digest.encode()[:64])

    def _shards(self) -> Iterator[Int8]:
        width = self.sketch.dimensions
        for path in sorted(self.folder.glob("rows-*.int8")):
            yield np.memmap(path, dtype=np.int8, mode="r").reshape(-1, width)

    def rows(self) -> Int8:
        """All rows [n, k] in memory; for tests and small indexes."""
        return np.concatenate([np.asarray(shard) for shard in self._shards()])

    def phantom_rows(self) -> Int8:
        values = np.fromfile(self.folder / "phantoms.int8", dtype=np.int8)
        return values.reshape(-1, self.sketch.dimensions)

    def quantise_query(self, query: Float32) -> QuantisedQuery:
        """Balance, fold by P, scale to unit length and round a raw sketched gradient [k]."""
        slices, balance = self.sketch.slices, np.array(self.manifest["balance"])
        balanced = _balanced(query, slices, balance).astype(np.float64)
        folded = self.curvature.fold(balanced)
        length = float(np.sqrt(max(float(folded @ balanced), 0.0)))
        peak = float(np.abs(folded).max())
        if not np.isfinite(length) or length == 0 or peak == 0:
            return QuantisedQuery(np.zeros(len(folded), dtype=np.int16), 0.0)
        values = np.rint(folded * (QUERY_LIMIT / peak)).astype(np.int16)
        return QuantisedQuery(values, peak / QUERY_LIMIT / length)

    def scan(self, query: Int16) -> Int64:
        """Integer scores [n] of all records, exact and the same on every machine."""
        multipliers = np.load(self.folder / "multipliers.npy", allow_pickle=False)
        return _scores(
            np.concatenate([_dots(shard, query) for shard in self._shards()]), multipliers
        )

    def scan_phantoms(self, query: Int16) -> Int64:
        """Integer scores [m] of the phantom records."""
        multipliers = np.load(self.folder / "phantom_multipliers.npy", allow_pickle=False)
        return _scores(_dots(self.phantom_rows(), query), multipliers)

    def score_unit(self, query: QuantisedQuery) -> float:
        """The cosine that one unit of an integer score stands for; for display, never for money."""
        return query.scale / self.smallest_norm


def _dots(rows: Int8, query: Int16) -> Int64:
    """Exact integer dot products [n]: below 2^53 every partial sum is exact in float64 too, in any
    order, so the fast BLAS product gives the same integers as an integer loop."""
    vector = query.astype(np.float64)
    blocks = [
        np.asarray(rows[start : start + SCAN_BLOCK_ROWS], dtype=np.float64) @ vector
        for start in range(0, rows.shape[0], SCAN_BLOCK_ROWS)
    ]
    return np.concatenate(blocks).astype(np.int64)


def _scores(dots: Int64, multipliers: UInt32) -> Int64:
    """``(dot · multiplier) >> 24``; |dot| ≤ 127·32767·65536 < 2^38, so the product fits int64."""
    return np.right_shift(dots * multipliers.astype(np.int64), MULTIPLIER_BITS)
