"""Choices of ``P`` in ``Σ_l q_lᵀ P_l g_il``, each folded into the query before it is sketched.

A block is one LoRA matrix ``W`` [out, in]; its gradients are rows [n, out·in] of n trained records.
A sketch mixes the coordinates and so loses what some choices need: the Kronecker structure, the
moment of each weight. Folded on the query's side, before sketching, they cost nothing per record:
the stored rows are the same whatever the choice. Pure numpy; ``factors.py`` collects from a model.

=====================  ==============================================================
``graddot``            ``I`` (TracIn with one checkpoint, Pruthi et al. 2020)
``datainf``            mean of the records' own inverses ``(g gᵀ + λ I)⁻¹`` (Kwon et al. 2024)
``fisher``             ``(Gᵀ G / n + λ I)⁻¹``, damped empirical Fisher (Park et al. 2023)
``ekfac``              ``U (Λ + λ)⁻¹ Uᵀ`` in the Kronecker-factored eigenbasis (George et al.
                       2018, Grosse et al. 2023)
=====================  ==============================================================

``λ`` is ``damping`` times the mean eigenvalue of the block. The unit norm (cosine) of any choice
divides by ``√(gᵀ P g)`` of query and record (``unit_norm``; RelatIF, Barshan et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Choice = Literal["graddot", "datainf", "fisher", "ekfac"]
CHOICES: tuple[Choice, ...] = ("graddot", "datainf", "fisher", "ekfac")
Fold = Callable[[Float64], Float64]
"""``P q`` for queries [m, out·in]."""


@dataclass(frozen=True)
class Factors:
    """Kronecker factors of one block, sums over tokens: inputs [in, in] and slopes [out, out]."""

    inputs: Float64
    slopes: Float64


def make_fold(
    choice: Choice, rows: Float64, damping: float, factors: Factors | None = None
) -> Fold:
    """The fold of one block. Raises ``ValueError`` for EK-FAC without factors."""
    if choice == "graddot":
        return lambda query: query
    if choice == "datainf":
        return datainf(rows, damping)
    if choice == "fisher":
        return damped_fisher(rows, damping)
    if factors is None:
        raise ValueError("EK-FAC needs the Kronecker factors of the block")
    return ekfac(rows, factors, damping)


def damper(rows: Float64, damping: float) -> float:
    """``λ``: ``damping`` times the mean eigenvalue of ``Gᵀ G / n``; one for rows of zeros."""
    found = damping * float(np.square(rows).sum()) / rows.size
    return found if found > 0 else 1.0


def datainf(rows: Float64, damping: float) -> Fold:
    """``(1/n) Σ_i (g_i g_iᵀ + λ I)⁻¹`` in closed form (Sherman-Morrison), never a matrix [d, d]."""
    dampening = damper(rows, damping)
    weights = 1 / (dampening + np.square(rows).sum(axis=1))

    def fold(query: Float64) -> Float64:
        return np.asarray(
            (query - (query @ rows.T * weights) @ rows / len(rows)) / dampening, dtype=np.float64
        )

    return fold


def damped_fisher(rows: Float64, damping: float) -> Fold:
    """``(Gᵀ G / n + λ I)⁻¹`` by the matrix [n, n] of the rows' products (Woodbury)."""
    dampening, count = damper(rows, damping), len(rows)
    inner = np.linalg.inv(rows @ rows.T + count * dampening * np.eye(count))

    def fold(query: Float64) -> Float64:
        return np.asarray((query - query @ rows.T @ inner @ rows) / dampening, dtype=np.float64)

    return fold


def ekfac(rows: Float64, factors: Factors, damping: float) -> Fold:
    """In the eigenbasis of the factors, with the rows' own second moments as eigenvalues."""
    _, right = np.linalg.eigh(factors.inputs)
    _, left = np.linalg.eigh(factors.slopes)
    shape = (-1, len(left), len(right))
    moments = np.square(left.T @ rows.reshape(shape) @ right).mean(axis=0)
    scale = 1 / (moments + damper(rows, damping))

    def fold(query: Float64) -> Float64:
        turned = (left.T @ query.reshape(shape) @ right) * scale
        return np.asarray((left @ turned @ right.T).reshape(query.shape), dtype=np.float64)

    return fold


def adam_scale(second_moments: Float64, epsilon: float = 1e-8) -> Float64:
    """What Adam multiplies a gradient by, ``1 / (√v + ε)`` [d], from the moments kept by training.

    An option beside any choice: ``D P q`` folds ``qᵀ P D g``, the effect of the step that Adam made
    of record i's gradient (LESS, Xia et al. 2024).
    """
    return np.asarray(1 / (np.sqrt(second_moments) + epsilon), dtype=np.float64)


def unit_norm(dots: Float64, query_squares: Float64, row_squares: Float64) -> Float64:
    """Cosines in the metric of ``P`` [m, n]: ``qᵀPg`` [m, n] over ``qᵀPq`` [m] and ``gᵀPg`` [n]."""
    lengths = np.sqrt(np.maximum(np.outer(query_squares, row_squares), 0.0))
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
