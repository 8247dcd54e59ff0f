"""The index folder of one adapter: what is needed to score its training records, and to replay.

::

    manifest.json              written last; digests of all other files; its sha256 names the index
    0-rows-00000.int8          [n, k] sketched gradients of the records, memory-mapped, in shards
    0-scales.npy               [n] float32: a row times its scale is the gradient, for the sums of P
    0-phantoms.int8            [m, k] the same of never-trained records
    0-multipliers.npy          [n] uint32: 2^24 · smallest row norm / row norm, in the metric P
    0-phantom_multipliers.npy  [m]
    0-curvature-000.npy …      P of each module [k_l, k_l] float64
    0-wide.int8                of a small index: wide sketches of records, then phantoms (``basis``)
    0-wide-scales.npy, 0-basis.npy
    0-axes.npy, 0-axes-pairs.npy   of a larger one: what its rows are coordinates along (``axes``)
    1-rows-00000.int8 …        the same at an earlier moment of training, and so on
    records.json               record ids and the canonical record of each one's duplicate cluster
    prompts-words.npy, prompts-ends.npy, prompts-vocabulary.json, and the same of responses
                               salted word hashes of each half of the records, phantoms after

A *track* is one moment of training: the finished adapter first, then earlier ones. A record that is
known by heart has no gradient left at the end; where it was learnt it still has.

Integer scoring: the folded query is rounded to int16, ``dot = rows · query`` is exact in int64,
``score = (dot · multiplier) >> 24``, and a fixed factor turns that into a cosine in 2^-20. The
folder is written beside its place, renamed into it and never changed afterwards (``index_writing``,
``index_withdrawal``). Two builds of the same input have the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.axes import Axes
from modelfactory.attribution.basis import Basis
from modelfactory.attribution.index_files import MANIFEST, sha256_of
from modelfactory.attribution.influence import Curvature, CurvatureKind
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
)
from modelfactory.attribution.word_lists import Words

SCHEMA = 5
READABLE = (3, 4, SCHEMA)
"""Schema 3 has no wide rows, 3 and 4 no axes; otherwise they are the same."""
COSINE_BITS = 20
"""A score of 2^20 is a cosine of one."""
UNIT_BITS = 40
"""A track's unit is 2^-40 of a cosine, so that score · unit stays inside int64."""
MULTIPLIER_BITS = 24
QUERY_LIMIT = 32767
MAXIMUM_DIMENSIONS = 65_536
ROWS_PER_SHARD = 262_144
ROWS_PER_BLOCK = 8_192
"""What is worked on at a time; divides a shard, so that blocks never depend on where shards end."""
HALVES = ("prompts", "responses")

UInt32 = npt.NDArray[np.uint32]
Projection = Sketch | Axes
"""Both give [n, dimensions] of {module: [n, size]}."""


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
class Texts:
    """The two halves of a record as text: what is asked and what is answered."""

    prompt: str
    response: str


@dataclass(frozen=True)
class QuantisedQuery:
    """A folded, unit-length query [k] as int16; a score of one is ``unit`` · 2^-40 of a cosine."""

    values: Int16
    unit: int


class Track:
    """The rows of one moment of training; they stay on disk."""

    def __init__(
        self,
        folder: Path,
        number: int,
        sketch: Sketch,
        wide: Sketch | None,
        axes: Sequence[Any],
        curved: bool,
        figures: dict[str, Any],
        dots: Dots,
    ) -> None:
        self._folder, self._number, self._sketch, self._curved = folder, number, sketch, curved
        self._wide, self._shapes, self._dots = wide, axes, dots
        self.balance: Float64 = np.array(figures["balance"])
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
    def basis(self) -> Basis | None:
        """Of a small index; its wide rows stay on disk."""
        if self._wide is None:
            return None
        return Basis.read(self._sketch, self._wide, self._folder, self._number)

    @cached_property
    def axes(self) -> Axes | None:
        """Of a larger index; those of old do without."""
        if not self._shapes:
            return None
        return Axes.read(self._sketch, self._shapes, self._folder, self._number)

    @property
    def projection(self) -> Projection:
        """What gradients are projected by before they are asked about or written."""
        return self._wide or self.axes or self._sketch

    @cached_property
    def _shards(self) -> tuple[Int8, ...]:
        width = self._sketch.dimensions
        paths = sorted(self._folder.glob(f"{self._number}-rows-*.int8"))
        return tuple(np.memmap(path, dtype=np.int8, mode="r").reshape(-1, width) for path in paths)

    def blocks(self) -> Iterator[tuple[Int8, Float32]]:
        """The rows [b, k] with their scales [b], ``ROWS_PER_BLOCK`` at a time."""
        scales, start = np.load(self._path("scales.npy"), allow_pickle=False), 0
        for shard in self._shards:
            for at in range(0, len(shard), ROWS_PER_BLOCK):
                block = np.asarray(shard[at : at + ROWS_PER_BLOCK])
                yield block, scales[start : start + len(block)]
                start += len(block)

    def rows(self) -> Int8:
        """All rows [n, k] in memory; for tests and small indexes."""
        return np.concatenate([np.asarray(shard) for shard in self._shards])

    def phantom_rows(self) -> Int8:
        values = np.fromfile(self._path("phantoms.int8"), dtype=np.int8)
        return values.reshape(-1, self._sketch.dimensions)

    def ask(self, gradient: Float32) -> QuantisedQuery:
        """A gradient as ``projection`` gives it, ready to be scanned with."""
        if self.basis is not None:
            gradient = self.basis.coordinates(gradient, self._dots)
        return self.quantise_query(gradient)

    def quantise_query(self, query: Float32) -> QuantisedQuery:
        """Balance, fold by P, scale to unit length and round a raw sketched gradient [k]."""
        whole = balanced(query, self._sketch.slices, self.balance).astype(np.float64)
        folded = self.curvature.fold(whole)
        length = float(np.sqrt(max(float(folded @ whole), 0.0)))
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
            content = (folder / MANIFEST).read_bytes()
            self.manifest: dict[str, Any] = json.loads(content)
        except (OSError, ValueError) as error:
            raise IndexDamagedError(f"{folder.name}: no readable manifest") from error
        schema = self.manifest.get("schema") if isinstance(self.manifest, dict) else None
        if schema not in READABLE:
            raise IndexDamagedError(f"{folder.name}: schema {schema} is not known")
        self.digest = hashlib.sha256(content).hexdigest()
        try:
            self._open(verify, dots)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # a name in it changed
            raise IndexDamagedError(f"{folder.name}: no readable manifest") from error

    def _open(self, verify: bool, dots: Dots | None) -> None:
        self._check_files(verify)
        identity = dict(self.manifest["identity"])
        self.identity = IndexIdentity(**{**identity, "tracks": tuple(identity["tracks"])})
        self.sketch = Sketch(tuple(ModuleSketch(**item) for item in self.manifest["modules"]))
        wide = tuple(ModuleSketch(**item) for item in self.manifest.get("wide", ()))
        self.wide = Sketch(wide) if wide else None
        """What a small index also keeps of each row (``basis.py``)."""
        self.tracks = tuple(
            Track(
                self.folder,
                number,
                self.sketch,
                self.wide,
                self.manifest.get("axes", ()),
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
            if verify and sha256_of(path) != expected["sha256"]:
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

    @property
    def follows(self) -> dict[str, str]:
        """Digests of the indexes that this one was made from, and why they were left.

        Their answers are not scored again: what they were scored by is gone.
        """
        return dict(self.manifest["follows"])

    @property
    def bytes_per_record(self) -> int:
        """Of all files, the phantoms' too."""
        return sum(int(file["bytes"]) for file in self.manifest["files"].values()) // len(self)

    def words(self, half: str) -> Words:
        """The words of one of ``HALVES``; those of the phantoms stand after the records'."""
        vocabulary = json.loads((self.folder / f"{half}-vocabulary.json").read_bytes())
        ids, ends = (
            np.load(self.folder / f"{half}-{name}.npy", allow_pickle=False)
            for name in ("words", "ends")
        )
        return Words(vocabulary, ids, ends)

    @cached_property
    def lexical(self) -> LexicalIndex:
        """BM25 over whole records."""
        own = np.arange(len(self) + self.phantom_count) < len(self)
        prompts, responses = (self.words(half).kept(own) for half in HALVES)
        return LexicalIndex(prompts.beside(responses), salt_of(self.identity))

    @cached_property
    def lexical_prompts(self) -> LexicalIndex:
        """BM25 over what records ask; phantoms stand after the records."""
        return LexicalIndex(self.words("prompts"), salt_of(self.identity))

    @cached_property
    def lexical_responses(self) -> LexicalIndex:
        """BM25 over what records answer; phantoms stand after the records."""
        return LexicalIndex(self.words("responses"), salt_of(self.identity))


def salt_of(identity: IndexIdentity) -> bytes:
    """What words are hashed with: the same text gives other words under another adapter."""
    return identity.adapter_digest.encode()[:64]


def balanced(values: Float32, slices: tuple[slice, ...], balance: Float64) -> Float32:
    """Each module's block divided by its root mean square, as rows are before they are int8."""
    result = values.astype(np.float32, copy=True)
    for part, factor in zip(slices, balance, strict=True):
        result[..., part] /= np.float32(factor)
    return result


def _cosines(dots: Int64, multipliers: UInt32, query: QuantisedQuery) -> Int64:
    """``((dot · multiplier) >> 24) · unit >> 20``; |dot| ≤ 127·32767·65536 < 2^38 and the product
    of score and unit is at most 2^40 for a cosine of one, so both fit int64."""
    scores = np.right_shift(dots * multipliers.astype(np.int64), MULTIPLIER_BITS)
    return np.right_shift(scores * np.int64(query.unit), UNIT_BITS - COSINE_BITS)
