"""Influence of trained rows on one answer: ``s(q, i) = Σ_l q_lᵀ P_l z_il``.

``z_il`` is record i's sketched gradient in module l, ``q_l`` the answer's. The choice of ``P_l`` is
the method: the identity gives the gradient dot product (TracIn with one checkpoint, Pruthi et al.
2020), and

    P_l = (Z_lᵀ Z_l / n + λ_l I)⁻¹,   λ_l = damping · mean eigenvalue

the damped empirical Fisher of TRAK (Park et al. 2023) and LoGra. ``P`` is folded into the query, so
stored rows never depend on the method. Scores are cosines in the metric of ``P`` (RelatIF, Barshan
et al. 2020): a trained row fits well, so its gradient is short, and unnormalised products would
favour whatever the adapter has *not* learnt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.sketch import Float32, Float64, Int8

CurvatureKind = Literal["efim", "identity"]
DEFAULT_DAMPING = 0.1


@dataclass(frozen=True)
class Curvature:
    """``P`` as one inverse matrix [k, k] per module; None is the identity."""

    slices: tuple[slice, ...]
    inverses: tuple[Float64, ...] | None

    def fold(self, query: Float64 | Float32) -> Float64:
        """``P q`` for one query [k] or several [m, k]."""
        result = np.array(query, dtype=np.float64)
        if self.inverses is not None:
            for part, inverse in zip(self.slices, self.inverses, strict=True):
                result[..., part] = result[..., part] @ inverse
        return result

    def norms(self, rows: Float64 | Float32 | Int8, block_rows: int = 4096) -> Float64:
        """``√(zᵀ P z)`` of each row [n, k], in blocks so that a memory map stays on disk."""
        blocks = []
        for start in range(0, rows.shape[0], block_rows):
            block = np.asarray(rows[start : start + block_rows], dtype=np.float64)
            blocks.append(np.sqrt(np.maximum((self.fold(block) * block).sum(axis=1), 0.0)))
        return np.concatenate(blocks) if blocks else np.zeros(0)


def second_moments(blocks: Iterable[Float64], slices: tuple[slice, ...]) -> tuple[Float64, ...]:
    """The empirical Fisher ``Z_lᵀ Z_l / n`` [k_l, k_l] of each module, of rows in blocks [b, k].

    The sums are taken block by block: the same blocks give the same bits.
    """
    sums = [np.zeros((part.stop - part.start,) * 2) for part in slices]
    count = 0
    for block in blocks:
        count += len(block)
        for total, part in zip(sums, slices, strict=True):
            total += block[:, part].T @ block[:, part]
    return tuple(total / count for total in sums)


def damped_inverse(moments: Float64, damping: float) -> Float64:
    """``(F + λ I)⁻¹`` with λ = ``damping`` times the mean eigenvalue of F; symmetric."""
    size = moments.shape[0]
    mean_eigenvalue = float(np.trace(moments)) / size
    damper = damping * mean_eigenvalue if mean_eigenvalue > 0 else 1.0
    inverse = np.linalg.inv(moments + damper * np.eye(size))
    return np.asarray((inverse + inverse.T) / 2, dtype=np.float64)


def make_curvature(
    kind: CurvatureKind, blocks: Iterable[Float64], slices: tuple[slice, ...], damping: float
) -> Curvature:
    """The metric ``P`` of trained rows, given in blocks [b, k]."""
    if kind == "identity":
        return Curvature(slices, None)
    moments = second_moments(blocks, slices)
    return Curvature(slices, tuple(damped_inverse(moment, damping) for moment in moments))


def score(
    query: Float64 | Float32, rows: Float64 | Float32 | Int8, curvature: Curvature
) -> npt.NDArray[np.float64]:
    """Cosine influence in the metric of ``P`` of each row [n, k] on the query [k]; in [-1, 1].

    The float reference of the integer arithmetic that receipts replay.
    """
    folded = curvature.fold(query)
    query_norm = float(np.sqrt(max(float(folded @ np.asarray(query, dtype=np.float64)), 0.0)))
    row_norms = curvature.norms(rows)
    scale = query_norm * row_norms
    dots = np.asarray(rows, dtype=np.float64) @ folded
    return np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)
