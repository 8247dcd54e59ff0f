"""Gradients of a small index in the span of its own records: no chance decides between those.

A random sketch of ``k`` numbers a module knows the product of two gradients up to ``1/√k`` of their
lengths, and the damped Fisher magnifies exactly the directions in which gradients are small. With
fewer records than ``k`` that is needless: what an answer's gradient has in common with the records
is a point in the space that they span. So a small index also keeps a *wide* sketch of each record
and phantom, 48 times as long, and a row has for each module:

- coordinates in the orthonormal basis of the records' wide sketches, by Gram and Schmidt in
  the order of the records (the Cholesky factor of their products), so that products with records
  are those of the wide sketches;
- a short seeded sample of what is left outside that span: products of answers with phantoms.

The basis is made of the records alone and holds one row for each of them: to forget a record is to
leave its row out and write the rest anew. Products of stored rows are sums of integers, so they are
the same on every machine; what an answer's gradient came to is on its receipt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.index_files import write_array, write_bytes
from modelfactory.attribution.scan import Dots
from modelfactory.attribution.sketch import (
    Float32,
    Float64,
    Int8,
    ModuleSketch,
    Sketch,
    quantise_rows,
)

WIDENING = 48
"""How many times as long as a row a wide sketch is: 196,608 numbers for rows of 4,096."""
OUTSIDE = 4
"""One in so many dimensions of a module is for what lies outside the span."""
JITTER = 1e-6
"""Added to the records' mean square: copies of a record span nothing new, and that is no error."""
QUERY_LIMIT = 32767


def widened(sketch: Sketch, factor: int) -> Sketch:
    """The sketch of the same modules and seed, ``factor`` times as long.

    At most half as long as the gradient: a sketch's values are all alike and so lose next to
    nothing as int8, a gradient's own do not. A module for which that is no longer stays as it is.
    """

    def wide(module: ModuleSketch) -> ModuleSketch:
        length = min(module.dimensions * factor, module.size // 2)
        if length <= module.dimensions:
            return module
        return ModuleSketch(module.name, module.size, length, module.seed)

    return Sketch(tuple(wide(module) for module in sketch.modules))


def room(sketch: Sketch, wide: Sketch) -> int:
    """How many records every module of a row has room for; 0 where a wide sketch is no wider."""
    found = [
        module.dimensions - _outside(module)
        for module, other in zip(sketch.modules, wide.modules, strict=True)
        if other != module
    ]
    return min(found, default=0)


def _outside(module: ModuleSketch) -> int:
    return module.dimensions // OUTSIDE


@dataclass(frozen=True)
class WideRows:
    """Wide sketches of records, then phantoms, as int8: one block [n, D] for each module, and a
    scale [n, modules] for each row of each."""

    blocks: tuple[Int8, ...]
    scales: Float32

    @classmethod
    def of(cls, values: Float32, slices: tuple[slice, ...]) -> WideRows:
        """Raw wide sketches [n, D of all modules] as int8."""
        found = [quantise_rows(values[:, part]) for part in slices]
        return cls(
            tuple(block for block, _ in found), np.stack([scales for _, scales in found], axis=1)
        )

    def __len__(self) -> int:
        return len(self.scales)

    def kept(self, keep: npt.NDArray[np.bool_]) -> WideRows:
        return WideRows(tuple(block[keep] for block in self.blocks), self.scales[keep])

    def with_more(self, more: WideRows, at: int) -> WideRows:
        """With the rows of ``more`` in front of row ``at``."""

        def joined(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.concatenate([one[:at], other, one[at:]])

        blocks = zip(self.blocks, more.blocks, strict=True)
        return WideRows(
            tuple(joined(one, other) for one, other in blocks), joined(self.scales, more.scales)
        )


class Basis:
    """The span of the first ``count`` of ``rows``, in the layout of the rows of ``sketch``."""

    def __init__(
        self,
        sketch: Sketch,
        wide: Sketch,
        rows: WideRows,
        count: int,
        inverses: Float64 | None = None,
    ) -> None:
        """``inverses`` [modules, count, count] as found before; else they are worked out."""
        self.sketch, self.wide, self.rows, self.count = sketch, wide, rows, count
        self._given = inverses

    @classmethod
    def read(cls, sketch: Sketch, wide: Sketch, folder: Path, number: int) -> Basis:
        """What ``write`` left of track ``number``; the wide rows stay on disk."""
        scales, inverses = (
            np.load(folder / f"{number}-{name}.npy", allow_pickle=False)
            for name in ("wide-scales", "basis")
        )
        whole = np.memmap(folder / f"{number}-wide.int8", dtype=np.int8, mode="r")
        ends = np.cumsum([len(scales) * module.dimensions for module in wide.modules])
        blocks = [part.reshape(len(scales), -1) for part in np.split(whole, ends[:-1])]
        return cls(sketch, wide, WideRows(tuple(blocks), scales), inverses.shape[1], inverses)

    def write(self, folder: Path, number: int) -> None:
        content = b"".join(block.tobytes() for block in self.rows.blocks)
        write_bytes(folder / f"{number}-wide.int8", content)
        write_array(folder / f"{number}-wide-scales.npy", self.rows.scales)
        write_array(folder / f"{number}-basis.npy", self.inverses)

    @cached_property
    def inverses(self) -> Float64:
        """The inverse Cholesky factor of the records' products, for each module: it turns products
        with the records into coordinates."""
        if self._given is not None:
            return self._given
        return np.array([_inverse_factor(self._products(at, self.count)) for at in self._modules])

    @property
    def _modules(self) -> range:
        return range(len(self.sketch.modules))

    def _widened(self, at: int) -> bool:
        return self.sketch.modules[at] != self.wide.modules[at]

    def _products(self, at: int, rows: int) -> Float64:
        """Of the first ``rows`` stored rows with the records: sums of integers times scales."""
        block = self.rows.blocks[at][:rows].astype(np.float64)
        scales = self.rows.scales[:rows, at].astype(np.float64)
        products: Float64 = (block @ block[: self.count].T) * scales[:, None] * scales[: self.count]
        return products

    def _sampled(self, at: int, rows: int) -> Float64:
        """The sample of the first ``rows`` stored rows themselves."""
        block = self.rows.blocks[at][:rows, self._samples[at]].astype(np.float64)
        return np.asarray(block * self.rows.scales[:rows, at, None].astype(np.float64))

    @cached_property
    def _samples(self) -> tuple[npt.NDArray[np.intp], ...]:
        """Which numbers of a wide sketch stand for what is outside, for each module."""
        pairs = zip(self.sketch.modules, self.wide.modules, strict=True)
        return tuple(
            ModuleSketch(f"{wide.name}:outside", wide.dimensions, _outside(own), wide.seed).sample
            for own, wide in pairs
        )

    @cached_property
    def _sampled_basis(self) -> tuple[Float64, ...]:
        """The samples of the basis vectors, [count, outside] for each module."""
        return tuple(self.inverses[at] @ self._sampled(at, self.count) for at in self._modules)

    def _block(self, at: int, products: Float64, sampled: Float64) -> Float64:
        """One module's part of rows [m, k], from products [m, count] and samples [m, outside]."""
        inside = products @ self.inverses[at].T
        outside = sampled - inside @ self._sampled_basis[at]
        found = np.zeros((len(products), self.sketch.modules[at].dimensions))
        found[:, : self.count] = inside
        scale = np.sqrt(self.wide.modules[at].dimensions / max(1, outside.shape[1]))
        found[:, found.shape[1] - outside.shape[1] :] = outside * scale
        return found

    def stored(self) -> Float32:
        """[n, k]: every stored row in the layout of an index's rows."""
        return np.hstack(list(self._stored_blocks())).astype(np.float32)

    def _stored_blocks(self) -> Iterator[Float64]:
        for at in self._modules:
            if self._widened(at):
                count = len(self.rows)
                yield self._block(at, self._products(at, count), self._sampled(at, count))
            else:
                block = self.rows.blocks[at].astype(np.float64)
                yield np.asarray(block * self.rows.scales[:, at, None].astype(np.float64))

    def coordinates(self, gradient: Float32, dots: Dots) -> Float32:
        """[k]: an answer's wide sketch [D] in the layout of an index's rows."""
        found = []
        for at, part in enumerate(self.wide.slices):
            values = gradient[part]
            if not self._widened(at):
                found.append(values)
                continue
            peak = float(np.abs(values).max()) or 1.0
            rounded = np.rint(values * (QUERY_LIMIT / peak)).astype(np.int16)
            whole = dots(self.rows.blocks[at][: self.count], rounded)
            products = whole * (peak / QUERY_LIMIT) * self.rows.scales[: self.count, at]
            sampled = values[self._samples[at]].astype(np.float64)
            found.append(self._block(at, products[None].astype(np.float64), sampled[None])[0])
        return np.concatenate(found).astype(np.float32)


def _inverse_factor(products: Float64) -> Float64:
    count = len(products)
    mean = float(np.trace(products)) / count or 1.0
    factor = np.linalg.cholesky(products + JITTER * mean * np.eye(count))
    return np.asarray(np.linalg.inv(factor), dtype=np.float64)
