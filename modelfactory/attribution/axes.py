"""Coordinates of gradients along the main axes of their LoRA matrices: rows of a large index.

The gradients of a LoRA matrix are far from round: a few directions of its rows and of its columns
hold most of their length, in every record. With ``L = Σ_i G_i G_iᵀ`` and ``R = Σ_i G_iᵀ G_i`` over
gradients ``G_i`` [out, in], the numbers of ``U_Lᵀ G U_R`` are nearly uncorrelated and their mean
squares nearly ``l_a r_b / Σ l`` (Kronecker-factored eigenbasis, George et al. 2018). A row keeps
the coordinates with the largest of these, as many as a sketch would have numbers. No chance decides
which; a random sketch of the same length errs by a tenth of the lengths.

The axes are found in one pass and without a matrix [out, out]: ``L Ω`` with 64 random columns is
enough (Nyström approximation of a positive semidefinite matrix, Tropp et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.index_files import write_array
from modelfactory.attribution.sketch import Float32, Float64, Sketch, random_signs

WIDTH = 64
"""So many directions of a side are looked at; those of a side that is no longer are exact."""
NEGLIGIBLE = 1e-12
"""What of ``ΩᵀLΩ`` is smaller than this part of its largest eigenvalue is rounding."""

Shape = tuple[int, int]
Shapes = tuple[Shape, Shape]
"""[out, in] of a layer's down (A) and up (B) matrix, in the order of a gradient's numbers."""
Int32 = npt.NDArray[np.int32]


def split(gradients: npt.NDArray[np.floating], shapes: Shapes) -> tuple[Float64, Float64]:
    """[n, size] as the gradients [n, out, in] of both matrices."""
    down, up = shapes
    cut = down[0] * down[1]
    return (
        np.asarray(gradients[:, :cut].reshape(-1, *down), dtype=np.float64),
        np.asarray(gradients[:, cut:].reshape(-1, *up), dtype=np.float64),
    )


@dataclass(frozen=True)
class MatrixAxes:
    """Of one matrix: axes of its rows [out, a] and columns [in, b], and which pairs are kept."""

    rows: Float64
    columns: Float64
    pairs: Int32
    """[k, 2]: numbers of a row axis and of a column axis."""

    def project(self, gradients: Float64) -> Float64:
        """[n, out, in] to [n, k]."""
        turned = self.rows.T @ gradients @ self.columns
        return np.asarray(turned[:, self.pairs[:, 0], self.pairs[:, 1]])


@dataclass(frozen=True)
class ModuleAxes:
    """Of one layer; the numbers of its down matrix come first, and zeros fill ``dimensions``."""

    shapes: Shapes
    dimensions: int
    down: MatrixAxes
    up: MatrixAxes

    def project(self, gradients: Float32) -> Float32:
        """[n, size] to [n, dimensions]."""
        found = np.zeros((len(gradients), self.dimensions), dtype=np.float32)
        parts = zip((self.down, self.up), split(gradients, self.shapes), strict=True)
        known = np.hstack([axes.project(matrices) for axes, matrices in parts])
        found[:, : known.shape[1]] = known
        return found


@dataclass(frozen=True)
class Axes:
    """All layers of one moment of training, in the layout of the rows of ``sketch``."""

    sketch: Sketch
    modules: tuple[ModuleAxes, ...]

    @property
    def dimensions(self) -> int:
        return self.sketch.dimensions

    @property
    def shapes(self) -> tuple[Shapes, ...]:
        return tuple(module.shapes for module in self.modules)

    def project(self, gradients: Mapping[str, Float32]) -> Float32:
        """{module: [n, size]} to [n, dimensions]; the modules must be exactly ours."""
        if set(gradients) != {module.name for module in self.sketch.modules}:
            raise ValueError("the gradients are not of the modules that these axes were found for")
        pairs = zip(self.sketch.modules, self.modules, strict=True)
        return np.hstack([axes.project(gradients[module.name]) for module, axes in pairs])

    def write(self, folder: Path, number: int) -> None:
        """Leave the axes of track ``number``: all numbers one after the other, and the pairs."""
        matrices = [matrix for module in self.modules for matrix in (module.down, module.up)]
        values = [side.ravel() for matrix in matrices for side in (matrix.rows, matrix.columns)]
        write_array(folder / f"{number}-axes.npy", np.concatenate(values).astype(np.float32))
        pairs = [
            np.column_stack([np.full(len(matrix.pairs), at), matrix.pairs])
            for at, matrix in enumerate(matrices)
        ]
        write_array(folder / f"{number}-axes-pairs.npy", np.concatenate(pairs).astype(np.int32))

    @classmethod
    def read(
        cls, sketch: Sketch, shapes: Sequence[Sequence[Sequence[int]]], folder: Path, number: int
    ) -> Axes:
        """What ``write`` left."""
        values = np.load(folder / f"{number}-axes.npy", allow_pickle=False).astype(np.float64)
        pairs = np.load(folder / f"{number}-axes-pairs.npy", allow_pickle=False)
        at, found = 0, []
        for of, (module, layer) in enumerate(zip(sketch.modules, shapes, strict=True)):
            matrices = []
            for half, (rows, columns) in enumerate(layer):
                own = pairs[pairs[:, 0] == 2 * of + half, 1:]
                counts = own.max(axis=0) + 1 if len(own) else np.zeros(2, dtype=np.int32)
                ends = at + np.cumsum([0, rows * int(counts[0]), columns * int(counts[1])])
                sides = [values[low:high] for low, high in pairwise(ends)]
                at = int(ends[-1])
                matrices.append(
                    MatrixAxes(sides[0].reshape(rows, -1), sides[1].reshape(columns, -1), own)
                )
            (down, up) = ((int(a), int(b)) for a, b in layer)
            found.append(ModuleAxes((down, up), module.dimensions, *matrices))
        return cls(sketch, tuple(found))


class _Side:
    """One side of a matrix while its gradients are gone through: ``L Ω`` and then its axes."""

    def __init__(self, length: int, width: int, seed: int, name: str) -> None:
        self.probe = (
            np.eye(length) if length <= width else random_signs(seed, name, (length, width))
        )
        self.image = np.zeros_like(self.probe)

    def add(self, gradients: Float64) -> None:
        """``Σ G Gᵀ Ω`` of [n, length, other]."""
        inner = gradients.transpose(0, 2, 1) @ self.probe
        self.image += np.einsum("nij,njk->ik", gradients, inner, optimize=True)

    def axes(self) -> tuple[Float64, Float64]:
        """Eigenvalues [w], the largest first, and eigenvectors [length, w] of ``L``."""
        inner = self.probe.T @ self.image
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        seen = values > NEGLIGIBLE * max(float(values[-1]), 0.0)
        root = self.image @ (vectors[:, seen] / np.sqrt(values[seen]))  # L ≈ root · rootᵀ
        axes, lengths, _ = np.linalg.svd(root, full_matrices=False)
        return lengths**2, axes


class AxesFinder:
    """Goes through gradients of some records once; ``found`` has the axes of all layers."""

    def __init__(self, sketch: Sketch, shapes: Mapping[str, Shapes]) -> None:
        self._sketch, self._shapes = sketch, shapes
        self._sides = {
            (module.name, half, side): _Side(
                shapes[module.name][half][side],
                _width(module.dimensions, shapes[module.name]),
                module.seed,
                f"{module.name}:{half}:{side}",
            )
            for module in sketch.modules
            for half in (0, 1)
            for side in (0, 1)
        }
        self._energy: dict[tuple[str, int], float] = {}

    def add(self, gradients: Mapping[str, Float32]) -> None:
        """{module: [n, size]}"""
        for name, values in gradients.items():
            for half, matrices in enumerate(split(values, self._shapes[name])):
                self._sides[name, half, 0].add(matrices)
                self._sides[name, half, 1].add(matrices.transpose(0, 2, 1))
                before = self._energy.get((name, half), 0.0)
                self._energy[name, half] = before + float(np.square(matrices).sum())

    def found(self) -> Axes:
        """As many coordinates of each layer as the sketch has numbers, those of most length."""
        return Axes(
            self._sketch,
            tuple(self._module(module.name, module.dimensions) for module in self._sketch.modules),
        )

    def _module(self, name: str, dimensions: int) -> ModuleAxes:
        sides = [[self._sides[name, half, side].axes() for side in (0, 1)] for half in (0, 1)]
        squares = [
            np.outer(rows[0], columns[0]) / (self._energy.get((name, half)) or 1.0)
            for half, (rows, columns) in enumerate(sides)
        ]
        flat = np.concatenate([one.ravel() for one in squares])
        kept = np.sort(np.argsort(-flat, kind="stable")[:dimensions])
        first = squares[0].size
        own = (kept[kept < first], kept[kept >= first] - first)
        down, up = (
            _kept(rows[1], columns[1], np.column_stack(np.unravel_index(chosen, square.shape)))
            for (rows, columns), square, chosen in zip(sides, squares, own, strict=True)
        )
        return ModuleAxes(self._shapes[name], dimensions, down, up)


def _kept(rows: Float64, columns: Float64, pairs: npt.NDArray[np.intp]) -> MatrixAxes:
    """Without the axes behind the last one that a pair names; kept as they are written."""
    ends = pairs.max(axis=0) + 1 if len(pairs) else (0, 0)
    rows, columns = (
        side[:, :end].astype(np.float32).astype(np.float64)
        for side, end in zip((rows, columns), ends, strict=True)
    )
    return MatrixAxes(rows, columns, pairs.astype(np.int32))


def _width(dimensions: int, shapes: Shapes) -> int:
    """Enough directions for as many pairs as a row has numbers, and ``WIDTH`` at least."""
    rank = min(*shapes[0], *shapes[1])
    return max(WIDTH, -(-dimensions // rank))
