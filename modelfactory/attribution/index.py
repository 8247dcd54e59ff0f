"""The index folder of one adapter: what is needed to score its training records, and to replay.

::

    manifest.json              written last; digests of all other files; its sha256 names the index
    0-rows-00000.int8          [n, k] sketched gradients of the records, memory-mapped, in shards
    0-phantoms.int8            [m, k] the same of never-trained records
    0-multipliers.npy          [n] uint32: 2^24 · smallest row norm / row norm, in the metric P
    0-phantom_multipliers.npy  [m]
    0-curvature-000.npy …      P of each module [k_l, k_l] float64
    1-rows-00000.int8 …        the same at an earlier moment of training, and so on
    records.json               record ids and the canonical record of each one's duplicate cluster
    lexical.json               salted word hashes of the record texts, for BM25
    lexical-prompts.json, lexical-responses.json   the same of each half, phantoms after records

A *track* is one moment of training: the finished adapter first, then earlier ones. A record that is
known by heart has no gradient left at the end; where it was learnt it still has.

Integer scoring: the folded query is rounded to int16, ``dot = rows · query`` is exact in int64,
``score = (dot · multiplier) >> 24``, and a fixed factor turns that into a cosine in 2^-20. The
folder is written beside its place, renamed into it and never changed afterwards. Two builds of the
same input have the same digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.influence import Curvature, CurvatureKind, make_curvature
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.attribution.scan import Dots
from modelfactory.attribution.scan import Int16 as Int16
from modelfactory.attribution.scan import Int64 as Int64
from modelfactory.attribution.scan import dots as exact_dots
from modelfactory.attribution.sketch import (
    Float32,
    Float64,
    Int8,
    ModuleSketch,
    Sketch,
    quantise_rows,
)

SCHEMA = 2
COSINE_BITS = 20
"""A score of 2^20 is a cosine of one."""
UNIT_BITS = 40
"""A track's unit is 2^-40 of a cosine, so that score · unit stays inside int64."""
MULTIPLIER_BITS = 24
QUERY_LIMIT = 32767
MAXIMUM_DIMENSIONS = 65_536
ROWS_PER_SHARD = 262_144

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
    """What the index was made from; part of its digest. ``tracks`` names the adapters, last one
    first.
    """

    base_digest: str
    adapter_digest: str
    curvature: CurvatureKind
    damping: float
    loss: str
    tracks: tuple[str, ...]


@dataclass(frozen=True)
class TrackRows:
    """Float gradients of one moment of training: records [n, k] and phantoms [m, k]."""

    rows: Float32
    phantoms: Float32


@dataclass(frozen=True)
class Texts:
    """The two halves of a record as text: what is asked and what is answered."""

    prompt: str
    response: str


@dataclass(frozen=True)
class QuantisedQuery:
    """A folded, unit-length query [k] as int16; a score of one is ``unit`` · 2^-40 of a cosine."""

    values: Int16
    unit: int


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
    tracks: Sequence[TrackRows],
    texts: Sequence[Texts],
    phantom_texts: Sequence[Texts],
) -> str:
    """Write the index of ``tracks`` to ``folder``; returns its digest.

    ``records`` and ``texts`` are in row order. Raises ``ValueError`` for shapes that do not fit,
    values that are not finite, no phantoms, or repeated record ids.
    """
    _check_input(sketch, identity, records, tracks, texts, phantom_texts)
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    figures = [
        _write_track(building, number, track, identity, sketch.slices)
        for number, track in enumerate(tracks)
    ]
    _write(building / "records.json", _canonical_json([asdict(record) for record in records]))
    salt = _salt(identity)
    both = [*texts, *phantom_texts]
    for name, found in (
        ("lexical.json", [f"{text.prompt} {text.response}" for text in texts]),
        ("lexical-prompts.json", [text.prompt for text in both]),
        ("lexical-responses.json", [text.response for text in both]),
    ):
        _write(building / name, _canonical_json(LexicalIndex.from_texts(found, salt).corpus))
    manifest = {
        "schema": SCHEMA,
        "identity": asdict(identity),
        "modules": [asdict(module) for module in sketch.modules],
        "tracks": figures,
        "records": len(records),
        "phantoms": len(phantom_texts),
        "files": {
            path.name: {"sha256": _sha256(path), "bytes": path.stat().st_size}
            for path in sorted(building.iterdir())
        },
    }
    _write(building / "manifest.json", _canonical_json(manifest))
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return _sha256(folder / "manifest.json")


def _write_track(
    building: Path,
    number: int,
    track: TrackRows,
    identity: IndexIdentity,
    slices: tuple[slice, ...],
) -> dict[str, Any]:
    """The files of one track; returns what its manifest entry says."""
    balance = _balance(track.rows, slices)
    row_values, row_scales = quantise_rows(_balanced(track.rows, slices, balance))
    phantom_values, _ = quantise_rows(_balanced(track.phantoms, slices, balance))
    dequantised = row_values.astype(np.float64) * row_scales.astype(np.float64)[:, None]
    curvature = make_curvature(identity.curvature, dequantised, slices, identity.damping)
    row_norms, phantom_norms = curvature.norms(row_values), curvature.norms(phantom_values)
    positive = np.concatenate([row_norms, phantom_norms])
    smallest = float(positive[positive > 0].min(initial=1.0 if not positive.any() else np.inf))
    for shard, start in enumerate(range(0, len(row_values), ROWS_PER_SHARD)):
        content = row_values[start : start + ROWS_PER_SHARD].tobytes()
        _write(building / f"{number}-rows-{shard:05d}.int8", content)
    _write(building / f"{number}-phantoms.int8", phantom_values.tobytes())
    _write_array(building / f"{number}-multipliers.npy", _multipliers(row_norms, smallest))
    _write_array(
        building / f"{number}-phantom_multipliers.npy", _multipliers(phantom_norms, smallest)
    )
    for at, inverse in enumerate(curvature.inverses or ()):
        _write_array(building / f"{number}-curvature-{at:03d}.npy", inverse)
    return {"balance": balance.tolist(), "smallest_norm": smallest}


def _salt(identity: IndexIdentity) -> bytes:
    return identity.adapter_digest.encode()[:64]


def _check_input(
    sketch: Sketch,
    identity: IndexIdentity,
    records: Sequence[IndexRecord],
    tracks: Sequence[TrackRows],
    texts: Sequence[Texts],
    phantom_texts: Sequence[Texts],
) -> None:
    width = sketch.dimensions
    if width > MAXIMUM_DIMENSIONS:
        raise ValueError(f"at most {MAXIMUM_DIMENSIONS} dimensions keep scores inside int64")
    if not tracks or len(tracks) != len(identity.tracks):
        raise ValueError("an index needs a named track for each set of rows")
    for track in tracks:
        expected = ((len(records), width), (len(phantom_texts), width))
        if (track.rows.shape, track.phantoms.shape) != expected:
            raise ValueError(
                f"rows {track.rows.shape} or phantoms {track.phantoms.shape} are not {expected}"
            )
        if not (np.isfinite(track.rows).all() and np.isfinite(track.phantoms).all()):
            raise ValueError("a gradient is not finite")
    if len(texts) != len(records) or not len(records) or not len(phantom_texts):
        raise ValueError("an index needs records, a text for each, and phantoms")
    if len({record.record_id for record in records}) != len(records):
        raise ValueError("a record id occurs twice")


class Track:
    """The rows of one moment of training; they stay on disk."""

    def __init__(
        self,
        folder: Path,
        number: int,
        sketch: Sketch,
        curved: bool,
        figures: dict[str, Any],
        dots: Dots,
    ) -> None:
        self._folder, self._number, self._sketch, self._curved = folder, number, sketch, curved
        self._dots = dots
        self._balance: Float64 = np.array(figures["balance"])
        self._smallest_norm: float = figures["smallest_norm"]

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._number}-{name}"

    @cached_property
    def curvature(self) -> Curvature:
        slices = self._sketch.slices
        if not self._curved:
            return Curvature(slices, None)
        paths = [self._path(f"curvature-{at:03d}.npy") for at in range(len(slices))]
        return Curvature(slices, tuple(np.load(path, allow_pickle=False) for path in paths))

    @cached_property
    def _shards(self) -> tuple[Int8, ...]:
        width = self._sketch.dimensions
        paths = sorted(self._folder.glob(f"{self._number}-rows-*.int8"))
        return tuple(np.memmap(path, dtype=np.int8, mode="r").reshape(-1, width) for path in paths)

    def rows(self) -> Int8:
        """All rows [n, k] in memory; for tests and small indexes."""
        return np.concatenate([np.asarray(shard) for shard in self._shards])

    def phantom_rows(self) -> Int8:
        values = np.fromfile(self._path("phantoms.int8"), dtype=np.int8)
        return values.reshape(-1, self._sketch.dimensions)

    def quantise_query(self, query: Float32) -> QuantisedQuery:
        """Balance, fold by P, scale to unit length and round a raw sketched gradient [k]."""
        balanced = _balanced(query, self._sketch.slices, self._balance).astype(np.float64)
        folded = self.curvature.fold(balanced)
        length = float(np.sqrt(max(float(folded @ balanced), 0.0)))
        peak = float(np.abs(folded).max())
        if not np.isfinite(length) or length == 0 or peak == 0:
            return QuantisedQuery(np.zeros(len(folded), dtype=np.int16), 0)
        values = np.rint(folded * (QUERY_LIMIT / peak)).astype(np.int16)
        unit = peak / QUERY_LIMIT / length / self._smallest_norm
        return QuantisedQuery(values, round(unit * (1 << UNIT_BITS)))

    def scan(self, query: QuantisedQuery) -> Int64:
        """Cosines in 2^-20 [n] of all records, exact and the same on every machine."""
        dots = np.concatenate([self._dots(shard, query.values) for shard in self._shards])
        return _cosines(dots, np.load(self._path("multipliers.npy"), allow_pickle=False), query)

    def scan_phantoms(self, query: QuantisedQuery) -> Int64:
        """The same [m] of the phantom records."""
        multipliers = np.load(self._path("phantom_multipliers.npy"), allow_pickle=False)
        return _cosines(self._dots(self.phantom_rows(), query.values), multipliers, query)


class AttributionIndex:
    """An opened index folder; the rows stay on disk."""

    def __init__(self, folder: Path, *, verify: bool = True, dots: Dots | None = None) -> None:
        """Open ``folder``; ``verify`` reads every file once. Raises ``IndexDamagedError``.

        ``dots`` must give the integers of ``scan.dots``, which is the default and needs no torch.
        """
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
        identity = dict(self.manifest["identity"])
        self.identity = IndexIdentity(**{**identity, "tracks": tuple(identity["tracks"])})
        self.sketch = Sketch(tuple(ModuleSketch(**item) for item in self.manifest["modules"]))
        self.tracks = tuple(
            Track(
                folder,
                number,
                self.sketch,
                self.identity.curvature != "identity",
                figures,
                dots or exact_dots,
            )
            for number, figures in enumerate(self.manifest["tracks"])
        )

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
    def phantom_count(self) -> int:
        return int(self.manifest["phantoms"])

    @property
    def seed(self) -> int:
        return self.sketch.modules[0].seed

    @cached_property
    def records(self) -> tuple[IndexRecord, ...]:
        items = json.loads((self.folder / "records.json").read_bytes())
        return tuple(IndexRecord(**item) for item in items)

    def _lexical(self, name: str) -> LexicalIndex:
        return LexicalIndex(json.loads((self.folder / name).read_bytes()), _salt(self.identity))

    @cached_property
    def lexical(self) -> LexicalIndex:
        """BM25 over whole records."""
        return self._lexical("lexical.json")

    @cached_property
    def lexical_prompts(self) -> LexicalIndex:
        """BM25 over what records ask; phantoms stand after the records."""
        return self._lexical("lexical-prompts.json")

    @cached_property
    def lexical_responses(self) -> LexicalIndex:
        """BM25 over what records answer; phantoms stand after the records."""
        return self._lexical("lexical-responses.json")


def _cosines(dots: Int64, multipliers: UInt32, query: QuantisedQuery) -> Int64:
    """``((dot · multiplier) >> 24) · unit >> 20``; |dot| ≤ 127·32767·65536 < 2^38 and the product
    of score and unit is at most 2^40 for a cosine of one, so both fit int64."""
    scores = np.right_shift(dots * multipliers.astype(np.int64), MULTIPLIER_BITS)
    return np.right_shift(scores * np.int64(query.unit), UNIT_BITS - COSINE_BITS)
