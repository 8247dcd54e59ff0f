"""Seeded random projection of per-module gradients, and int8 rows.

Each LoRA module's gradient (A and B flattened, ``d`` floats) becomes ``k`` floats by a subsampled
randomised Hadamard transform (Ailon & Chazelle 2009): random signs, a fast Walsh-Hadamard
transform, ``k`` sampled coordinates. It keeps dot products in expectation, costs
``O(d log d)`` and stores nothing: signs and coordinates come from SHAKE-256 of the seed and the
module's name, so they do not depend on any library's random generator.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]

INT8_LIMIT = 127
HADAMARD_ORDER = 32


def _random_bytes(seed: int, module: str, purpose: str, count: int) -> bytes:
    return hashlib.shake_256(f"{seed}:{module}:{purpose}".encode()).digest(count)


def random_signs(seed: int, module: str, shape: tuple[int, ...]) -> Float32:
    """Plus and minus one, as likely, by the seed and the name."""
    count = math.prod(shape)
    raw = _random_bytes(seed, module, "signs", (count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=count)
    return (bits.astype(np.float32) * 2 - 1).reshape(shape)


@lru_cache
def _hadamard(order: int) -> Float32:
    """The Hadamard matrix of ``order``, a power of two, with entries of plus and minus one."""
    if order == 1:
        return np.ones((1, 1), dtype=np.float32)
    half = _hadamard(order // 2)
    return np.block([[half, half], [half, -half]])


def walsh_hadamard(values: Float32) -> Float32:
    """Orthonormal Walsh-Hadamard transform of each row of ``values`` [n, 2^m].

    A Hadamard matrix is the Kronecker product of small ones. One after the other is multiplied into
    its own axis: a few small matrix products are several times as fast as m passes over the memory.
    """
    rows, width = values.shape
    if width & (width - 1):
        raise ValueError("the width of a Walsh-Hadamard transform is a power of two")
    result, done = values.astype(np.float32), 1
    while done < width:
        order = min(HADAMARD_ORDER, width // done)
        turned = result.reshape(-1, order) @ _hadamard(order)
        # The axis that is done goes to the front; after all of them each is in its place again.
        result = turned.reshape(rows, width // order, order).transpose(0, 2, 1).reshape(rows, width)
        done *= order
    return result / np.float32(np.sqrt(width))


@dataclass(frozen=True)
class ModuleSketch:
    """Projection of one module: ``size`` gradient floats to ``dimensions`` floats."""

    name: str
    size: int
    dimensions: int
    seed: int

    @property
    def exact(self) -> bool:
        return self.dimensions == self.size

    @cached_property
    def width(self) -> int:
        """The power of two that the gradient is padded to."""
        return 1 << (self.size - 1).bit_length()

    @cached_property
    def signs(self) -> Float32:
        return random_signs(self.seed, self.name, (self.size,))

    @cached_property
    def coordinates(self) -> npt.NDArray[np.intp]:
        return self._drawn("coordinates", self.width)

    @cached_property
    def sample(self) -> npt.NDArray[np.intp]:
        """``dimensions`` of ``size`` numbers that are mixed already and need no transform."""
        return self._drawn("sample", self.size)

    def _drawn(self, purpose: str, count: int) -> npt.NDArray[np.intp]:
        raw = _random_bytes(self.seed, self.name, purpose, 8 * count)
        keys = np.frombuffer(raw, dtype="<u8")
        return np.sort(np.argsort(keys, kind="stable")[: self.dimensions])

    def project(self, gradients: Float32) -> Float32:
        """[n, size] gradients to [n, dimensions] sketches; dot products kept in expectation."""
        if gradients.shape[1] != self.size:
            raise ValueError(f"{self.name}: {gradients.shape[1]} floats, not {self.size}")
        if self.exact:
            return gradients.astype(np.float32, copy=True)
        padded = np.zeros((gradients.shape[0], self.width), dtype=np.float32)
        padded[:, : self.size] = gradients * self.signs
        sampled = walsh_hadamard(padded)[:, self.coordinates]
        return np.ascontiguousarray(sampled * np.float32(np.sqrt(self.width / self.dimensions)))


@dataclass(frozen=True)
class Sketch:
    """All modules of one adapter, concatenated in name order to ``dimensions`` floats."""

    modules: tuple[ModuleSketch, ...]

    @property
    def dimensions(self) -> int:
        return sum(module.dimensions for module in self.modules)

    @property
    def slices(self) -> tuple[slice, ...]:
        starts = np.cumsum([0, *(module.dimensions for module in self.modules)])
        return tuple(slice(int(start), int(stop)) for start, stop in pairwise(starts))

    def project(self, gradients: Mapping[str, Float32]) -> Float32:
        """{module: [n, size]} to [n, dimensions]; the modules must be exactly ours."""
        if set(gradients) != {module.name for module in self.modules}:
            raise ValueError("the gradients are not of the modules that this sketch was made for")
        return np.hstack([module.project(gradients[module.name]) for module in self.modules])


def plan_sketch(sizes: Mapping[str, int], *, dimensions: int, seed: int) -> Sketch:
    """Share ``dimensions`` equally among the modules; a module never gets more than its size.

    Raises ``ValueError`` when there are fewer dimensions than modules.
    """
    if dimensions < len(sizes) or not sizes:
        raise ValueError(f"{dimensions} dimensions are too few for {len(sizes)} modules")
    left, modules = dimensions, []
    by_size = sorted(sizes, key=lambda name: (sizes[name], name))
    for position, name in enumerate(by_size):
        share = min(left // (len(by_size) - position), sizes[name])
        modules.append(ModuleSketch(name, sizes[name], share, seed))
        left -= share
    return Sketch(tuple(sorted(modules, key=lambda module: module.name)))


def quantise_rows(values: Float32) -> tuple[Int8, Float32]:
    """[n, k] floats to int8 rows and one scale per row: ``values ≈ rows * scales[:, None]``."""
    peaks = np.abs(values).max(axis=1, initial=0.0)
    scales = (peaks / INT8_LIMIT).astype(np.float32)
    safe = np.where(scales > 0, scales, np.float32(1))
    rows = np.clip(np.rint(values / safe[:, None]), -INT8_LIMIT, INT8_LIMIT)
    return rows.astype(np.int8), scales
