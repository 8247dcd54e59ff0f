"""Write an index: from gradients, or from another index with more records.

Everything goes through ``write_stored``, which computes the sums (the curvature, and with it every
norm) from the rows that are written: no index holds sums over rows that it does not have. At most
some blocks of rows are in memory at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from modelfactory.attribution.axes import Axes
from modelfactory.attribution.basis import Basis, WideRows, room
from modelfactory.attribution.index import (
    HALVES,
    MAXIMUM_DIMENSIONS,
    MULTIPLIER_BITS,
    ROWS_PER_BLOCK,
    ROWS_PER_SHARD,
    SCHEMA,
    AttributionIndex,
    IndexIdentity,
    IndexRecord,
    Texts,
    Track,
    UInt32,
    balanced,
    salt_of,
)
from modelfactory.attribution.index_files import (
    MANIFEST,
    canonical_json,
    listed_files,
    sha256_of,
    write_array,
    write_bytes,
    written_beside,
)
from modelfactory.attribution.influence import make_curvature
from modelfactory.attribution.lexical import words_of_texts
from modelfactory.attribution.sketch import Float32, Float64, Int8, Sketch, quantise_rows
from modelfactory.attribution.word_lists import Words

Blocks = Iterable[tuple[Int8, Float32]]
"""Rows [b, k] and their scales [b]."""


@dataclass(frozen=True)
class TrackRows:
    """Float gradients of one moment of training: records [n, k] and phantoms [m, k].

    In a small index they are wide sketches (``basis.py``), in a larger one along ``axes``.
    """

    rows: Float32
    phantoms: Float32
    axes: Axes | None = None


@dataclass(frozen=True)
class StoredTrack:
    """One moment of training as it is stored; ``blocks`` is gone through once."""

    blocks: Blocks
    phantoms: Int8
    balance: Float64
    basis: Basis | None = None
    axes: Axes | None = None


def write_index(
    folder: Path,
    *,
    identity: IndexIdentity,
    sketch: Sketch,
    records: Sequence[IndexRecord],
    tracks: Sequence[TrackRows],
    texts: Sequence[Texts],
    phantom_texts: Sequence[Texts],
    follows: Mapping[str, str] | None = None,
    wide: Sketch | None = None,
) -> str:
    """Write the index of ``tracks`` to ``folder``; returns its digest.

    ``records`` and ``texts`` are in row order; ``follows`` as in ``AttributionIndex``; with
    ``wide`` the gradients are sketched by that, and no more records than ``room``. Raises
    ``ValueError`` for shapes that do not fit, values that are not finite, no phantoms, tracks of
    which only some have axes, or repeated record ids.
    """
    if sketch.dimensions > MAXIMUM_DIMENSIONS:
        raise ValueError(f"at most {MAXIMUM_DIMENSIONS} dimensions keep scores inside int64")
    if not tracks or len(tracks) != len(identity.tracks):
        raise ValueError("an index needs a named track for each set of rows")
    if len(texts) != len(records) or not len(records) or not len(phantom_texts):
        raise ValueError("an index needs records, a text for each, and phantoms")
    width = (wide or sketch).dimensions
    for track in tracks:
        _check_rows(track.rows, (len(records), width))
        _check_rows(track.phantoms, (len(phantom_texts), width))
    return write_stored(
        folder,
        identity=identity,
        sketch=sketch,
        records=records,
        tracks=[_stored(track, sketch, wide) for track in tracks],
        words=_words(identity, texts, phantom_texts),
        follows=follows or {},
        wide=wide,
    )


def append_records(
    index: AttributionIndex,
    folder: Path,
    *,
    records: Sequence[IndexRecord],
    rows: Sequence[Float32],
    texts: Sequence[Texts],
) -> str:
    """Write ``index`` with more records after its own to ``folder``; returns the new digest.

    ``rows`` holds their raw gradients [a, k] for each track, by that track's ``projection``. A
    record whose cluster is older names that cluster. Raises ``ValueError`` as ``write_index``.
    """
    if len(texts) != len(records) or not len(records) or len(rows) != len(index.tracks):
        raise ValueError("each new record needs a text and a row in every track")
    for track, values in zip(index.tracks, rows, strict=True):
        _check_rows(values, (len(records), track.projection.dimensions))
    more = _words(index.identity, texts)
    return write_stored(
        folder,
        identity=index.identity,
        sketch=index.sketch,
        records=[*index.records, *records],
        tracks=[
            _with_more(track, values, index)
            for track, values in zip(index.tracks, rows, strict=True)
        ],
        words={half: index.words(half).with_more(more[half], at=len(index)) for half in HALVES},
        follows={**index.follows, index.digest: "append"},
        wide=index.wide,
    )


def _with_more(track: Track, values: Float32, index: AttributionIndex) -> StoredTrack:
    if track.basis is None:
        more = quantised(values, index.sketch.slices, track.balance)
        blocks = chain(track.blocks(), more)
        return StoredTrack(blocks, track.phantom_rows(), track.balance, axes=track.axes)
    added = WideRows.of(values, track.basis.wide.slices)
    rows = track.basis.rows.with_more(added, at=len(index))
    basis = Basis(track.basis.sketch, track.basis.wide, rows, len(index) + len(values))
    return spanned(basis, track.balance)


def write_stored(
    folder: Path,
    *,
    identity: IndexIdentity,
    sketch: Sketch,
    records: Iterable[IndexRecord],
    tracks: Sequence[StoredTrack],
    words: Mapping[str, Words],
    follows: Mapping[str, str],
    wide: Sketch | None = None,
) -> str:
    """Write rows that are int8 already; returns the digest. Raises ``ValueError`` for a record id
    that occurs twice."""
    records = tuple(records)
    if len({record.record_id for record in records}) != len(records):
        raise ValueError("a record id occurs twice")
    with written_beside(folder) as building:
        figures = [
            _write_track(building, number, track, identity, sketch)
            for number, track in enumerate(tracks)
        ]
        write_bytes(
            building / "records.json", canonical_json([asdict(record) for record in records])
        )
        for half in HALVES:
            write_bytes(
                building / f"{half}-vocabulary.json", canonical_json(words[half].vocabulary)
            )
            write_array(building / f"{half}-words.npy", words[half].ids)
            write_array(building / f"{half}-ends.npy", words[half].ends)
        manifest = {
            "schema": SCHEMA,
            "identity": asdict(identity),
            "modules": [asdict(module) for module in sketch.modules],
            "wide": [asdict(module) for module in wide.modules] if wide else [],
            "axes": _shapes(tracks),
            "tracks": figures,
            "records": len(records),
            "phantoms": len(words[HALVES[0]]) - len(records),
            "follows": dict(follows),
            "files": listed_files(building),
        }
        write_bytes(building / MANIFEST, canonical_json(manifest))
    return sha256_of(folder / MANIFEST)


def _shapes(tracks: Sequence[StoredTrack]) -> list[Any]:
    """The shapes of the matrices that axes are of; none where rows are no coordinates."""
    found = {track.axes.shapes if track.axes else () for track in tracks}
    if len(found) > 1:
        raise ValueError("all tracks of an index have axes of the same matrices, or none has")
    return [list(map(list, layer)) for layer in found.pop()]


def _check_rows(rows: Float32, shape: tuple[int, int]) -> None:
    if rows.shape != shape:
        raise ValueError(f"rows {rows.shape} are not {shape}")
    if not all(np.isfinite(block).all() for block in _in_blocks(rows)):
        raise ValueError("a gradient is not finite")


def _in_blocks(rows: Float32) -> Iterator[Float32]:
    return (rows[at : at + ROWS_PER_BLOCK] for at in range(0, len(rows), ROWS_PER_BLOCK))


def _words(identity: IndexIdentity, *parts: Iterable[Texts]) -> dict[str, Words]:
    salt = salt_of(identity)
    return {
        "prompts": words_of_texts((text.prompt for text in chain(*parts)), salt),
        "responses": words_of_texts((text.response for text in chain(*parts)), salt),
    }


def _stored(track: TrackRows, sketch: Sketch, wide: Sketch | None) -> StoredTrack:
    if wide is not None:
        rows = WideRows.of(np.concatenate([track.rows, track.phantoms]), wide.slices)
        return spanned(Basis(sketch, wide, rows, len(track.rows)))
    slices = sketch.slices
    balance = _balance(track.rows, slices)
    phantoms, _ = quantise_rows(balanced(track.phantoms, slices, balance))
    blocks = quantised(track.rows, slices, balance)
    return StoredTrack(blocks, phantoms, balance, axes=track.axes)


def spanned(basis: Basis, balance: Float64 | None = None) -> StoredTrack:
    """A track of a small index from its wide rows; its balance is kept where there was one.

    Raises ``ValueError`` where the basis has no room for so many records.
    """
    space = room(basis.sketch, basis.wide)
    if basis.count > space:
        raise ValueError(
            f"a small index has room for {space} records, not {basis.count}: build it anew"
        )
    slices, values = basis.sketch.slices, basis.stored()
    rows = values[: basis.count]
    balance = _balance(rows, slices) if balance is None else balance
    phantoms, _ = quantise_rows(balanced(values[basis.count :], slices, balance))
    return StoredTrack(quantised(rows, slices, balance), phantoms, balance, basis)


def _balance(rows: Float32, slices: tuple[slice, ...]) -> Float64:
    """The root mean square of each module's block: rows are divided by it before int8."""
    sums = np.zeros(len(slices))
    for block in _in_blocks(rows):
        sums += [float(np.square(block[:, part], dtype=np.float64).sum()) for part in slices]
    means = sums / np.array([len(rows) * (part.stop - part.start) for part in slices])
    return np.where(means > 0, np.sqrt(means), 1.0)


def quantised(rows: Float32, slices: tuple[slice, ...], balance: Float64) -> Blocks:
    """Rows [n, k] as int8 with their scales, a block at a time."""
    return (quantise_rows(balanced(block, slices, balance)) for block in _in_blocks(rows))


def _write_track(
    building: Path, number: int, track: StoredTrack, identity: IndexIdentity, sketch: Sketch
) -> dict[str, Any]:
    """The files of one track; returns what its manifest entry says."""
    shards = _Shards(building, number, sketch.dimensions)
    for values, scales in track.blocks:
        shards.add(values, scales)
    shards.close()
    curvature = make_curvature(
        identity.curvature,
        (
            values.astype(np.float64) * scales.astype(np.float64)[:, None]
            for values, scales in shards.blocks()
        ),
        sketch.slices,
        identity.damping,
    )
    norms = np.concatenate([curvature.norms(values) for values, _ in shards.blocks()])
    phantom_norms = curvature.norms(track.phantoms)
    positive = np.concatenate([norms, phantom_norms])
    smallest = float(positive[positive > 0].min(initial=1.0 if not positive.any() else np.inf))
    write_bytes(building / f"{number}-phantoms.int8", track.phantoms.tobytes())
    write_array(building / f"{number}-scales.npy", shards.scales())
    write_array(building / f"{number}-multipliers.npy", _multipliers(norms, smallest))
    write_array(
        building / f"{number}-phantom_multipliers.npy", _multipliers(phantom_norms, smallest)
    )
    if track.basis is not None:
        track.basis.write(building, number)
    if track.axes is not None:
        track.axes.write(building, number)
    for at, inverse in enumerate(curvature.inverses or ()):
        write_array(building / f"{number}-curvature-{at:03d}.npy", inverse)
    return {"balance": track.balance.tolist(), "smallest_norm": smallest}


def _multipliers(norms: Float64, smallest: float) -> UInt32:
    scaled = np.divide(smallest, norms, out=np.zeros_like(norms), where=norms > 0)
    multipliers: UInt32 = np.rint(scaled * (1 << MULTIPLIER_BITS)).astype(np.uint32)
    return multipliers


class _Shards:
    """Rows as they come, packed into files of ``ROWS_PER_SHARD``: where blocks end changes none."""

    def __init__(self, folder: Path, number: int, width: int) -> None:
        self._folder, self._number, self._width = folder, number, width
        self._scales: list[Float32] = []
        self._paths: list[Path] = []
        self._left = 0

    def add(self, values: Int8, scales: Float32) -> None:
        self._scales.append(scales)
        while len(values):
            if not self._left:
                self._next()
            part, values = values[: self._left], values[self._left :]
            self._stream.write(part.tobytes())
            self._left -= len(part)

    def _next(self) -> None:
        self.close()
        path = self._folder / f"{self._number}-rows-{len(self._paths):05d}.int8"
        self._paths.append(path)
        self._stream = path.open("wb")
        self._left = ROWS_PER_SHARD

    def close(self) -> None:
        if self._paths and not self._stream.closed:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()

    def scales(self) -> Float32:
        return np.concatenate(self._scales).astype(np.float32)

    def blocks(self) -> Iterator[tuple[Int8, Float32]]:
        """What was written, in blocks that depend on the number of rows alone."""
        scales, start = self.scales(), 0
        for path in self._paths:
            rows = np.memmap(path, dtype=np.int8, mode="r").reshape(-1, self._width)
            for at in range(0, len(rows), ROWS_PER_BLOCK):
                block = np.asarray(rows[at : at + ROWS_PER_BLOCK])
                yield block, scales[start : start + len(block)]
                start += len(block)
