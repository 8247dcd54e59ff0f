"""Fit a calibration: from signals and retrained adapters to the weights of ``calibration.py``.

The weights maximise the likelihood of what the retrained adapters think of half of the calibration
questions (empirical Bayes; MacKay 1992). The other half measures: each pair of retrainings is
predicted from the others only, and the Spearman correlation with what it really thinks is the
linear datamodelling score (LDS, Park et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelfactory.attribution.calibration import ONE, Design, Weights, posterior, standardise
from modelfactory.attribution.index import Int64
from modelfactory.attribution.method import MethodParameters, noise_of
from modelfactory.attribution.subsets import Signs

STEPS = 300
RATE = 0.05
PULL = 1e-3
"""Weight of the pull towards one on the logarithm of each parameter; keeps unused ones finite."""
FOLDS = 4
RESAMPLES = 1000
LARGEST = 16.0
GATE_MARGIN_PERCENT = 200
HALVINGS = 100

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationQuestion:
    """One answer: its normalised signals [s, n] and [s, p], and what the M adapters think of it."""

    kind: str
    signals: Int64
    phantom_signals: Int64
    log_probabilities_micro: tuple[int, ...]


def fit_weights(questions: Sequence[CalibrationQuestion], signs: Signs) -> Weights:
    """The shared weights, by gradient ascent of the likelihood; deterministic."""
    signals = _float([question.signals for question in questions]) / ONE
    values = _float(
        [standardise(question.log_probabilities_micro).standard for question in questions]
    )
    halves = torch.tensor(signs, dtype=torch.float64) / 2
    logs = torch.full((2 * signals.shape[1] + 3,), -2.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logs], lr=RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = _surprise(logs, signals, values, halves) + PULL * logs.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = [min(math.exp(float(value)), LARGEST) for value in logs.detach()]
    count = signals.shape[1]
    fixed = [round(value * ONE) for value in found]
    return Weights(
        mean=tuple(fixed[:count]),
        spread=tuple(fixed[count : 2 * count]),
        spread_of_all=round(found[2 * count] / signals.shape[2] * ONE),
        scale_spread=fixed[2 * count + 1],
        noise=max(fixed[2 * count + 2], ONE // 1000),
    )


def _surprise(logs: Tensor, signals: Tensor, values: Tensor, halves: Tensor) -> Tensor:
    """Mean negative log-likelihood of the questions; signals [q, s, n], values [q, M]."""
    count = signals.shape[1]
    weights = logs.exp()
    mean = torch.einsum("s,qsn->qn", weights[:count], signals)
    spread = torch.einsum("s,qsn->qn", weights[count : 2 * count], signals.square())
    spread = spread + weights[2 * count] / signals.shape[2]
    projected = mean @ halves.T
    gram = (halves[None] * spread[:, None]) @ halves.T
    gram = gram + weights[2 * count + 1] * projected[:, :, None] * projected[:, None, :]
    gram = gram + weights[2 * count + 2] * torch.eye(len(halves), dtype=torch.float64)
    factor = torch.linalg.cholesky(gram)
    rest = (values - projected)[..., None]
    solved = torch.cholesky_solve(rest, factor)
    squares = (rest * solved).sum(dim=(1, 2)) / 2
    surprise: Tensor = (squares + factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)).mean()
    return surprise


def _float(arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
    return torch.tensor(np.array(arrays), dtype=torch.float64)


def ranks(values: npt.NDArray[Any]) -> Float64:
    """Ranks from 0, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[place], dtype=np.float64)


def spearman(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Spearman's rank correlation; 0 where one of the two does not vary."""
    left, right = ranks(one) - ranks(one).mean(), ranks(other) - ranks(other).mean()
    length = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / length if length else 0.0


def predicted(scores: npt.NDArray[Any], signs: Signs) -> Float64:
    """What additive scores [n] say of each retraining [M]: half of the sum over kept minus left."""
    return np.asarray(signs.astype(np.float64) @ scores / 2, dtype=np.float64)


def held_out_prediction(
    question: CalibrationQuestion, signs: Signs, weights: Weights, folds: int = FOLDS
) -> Float64:
    """[M]: each retraining predicted without having seen it or its complement."""
    pairs = np.arange(len(signs)) // 2
    found = np.zeros(len(signs))
    for fold in range(folds):
        out = pairs % folds == fold
        if not out.any() or out.all():
            continue
        seen = tuple(
            value
            for value, left in zip(question.log_probabilities_micro, out, strict=True)
            if not left
        )
        design = Design(signs[~out], np.zeros((int((~out).sum()), 0), dtype=np.int8))
        nobody = np.zeros((len(question.signals), 0), dtype=np.int64)
        scores = posterior(question.signals, nobody, design, weights, seen).scores
        found[out] = predicted(scores, signs[out])
    return found


def interval(values: Sequence[float], seed: int = 0) -> list[float]:
    """Mean and its 95 % bootstrap interval over questions; empty for none."""
    if not values:
        return []
    rng = np.random.default_rng(seed)
    array = np.array(values)
    means = array[rng.integers(len(array), size=(RESAMPLES, len(array)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(value), 3) for value in (array.mean(), low, high)]


def measure_fidelity(
    questions: Sequence[CalibrationQuestion], signs: Signs, weights: Weights, beside: int
) -> dict[str, Any]:
    """LDS by kind of question, beside plain signals; ``beside`` is the number of cosine signals."""
    rng = np.random.default_rng(0)
    scored: dict[str, dict[str, list[float]]] = {}
    for question in questions:
        truth = np.array(question.log_probabilities_micro)
        cosines = question.signals[:beside].sum(axis=0)
        words = question.signals[beside:].sum(axis=0)
        noise: Float64 = rng.standard_normal((signs.shape[1],))
        for name, said in (
            ("calibrated", held_out_prediction(question, signs, weights)),
            ("influence", predicted(cosines, signs)),
            ("bm25", predicted(words, signs)),
            ("random", predicted(noise, signs)),
        ):
            scored.setdefault(name, {}).setdefault(question.kind, []).append(spearman(said, truth))
    ours = scored.pop("calibrated", {})
    everything = [value for values in ours.values() for value in values]
    return {
        "lds": {kind: interval(values) for kind, values in sorted(ours.items())},
        "beside": {
            name: {kind: round(float(np.mean(values)), 3) for kind, values in sorted(kinds.items())}
            for name, kinds in scored.items()
        },
        "pays": bool(everything) and interval(everything)[1] > 0,
    }


def learn_gate(
    sourceless: Sequence[CalibrationQuestion],
    design: Design,
    weights: Weights,
    parameters: MethodParameters,
) -> tuple[int, dict[str, Any]]:
    """How many thousandths of the noise are the threshold, so that an answer without a source pays
    nobody.

    Twice the largest need of any of them, since the next answer may need more than the largest
    seen. Its error is measured by learning on a random half and asking the other, many times.
    """
    needs: list[int] = []
    for question in sourceless:
        found = posterior(
            question.signals,
            question.phantom_signals,
            design,
            weights,
            question.log_probabilities_micro,
        )
        noise = noise_of(found.phantom_scores, parameters)
        best = int(found.scores.max(initial=0))
        needs.append(best * 1000 // noise + 1 if noise else 0)
    return _gate(needs), {"answers": len(needs), "false_pay": round(_false_pay(needs), 4)}


def _gate(needs: Sequence[int]) -> int:
    return max([1, *needs]) * GATE_MARGIN_PERCENT // 100


def _false_pay(needs: Sequence[int]) -> float:
    """Share of answers that a gate learnt from the other half would have paid; seeded."""
    rng, found = np.random.default_rng(0), list[float]()
    for _ in range(HALVINGS if len(needs) > 1 else 0):
        turned = np.array(needs)[rng.permutation(len(needs))]
        learnt, asked = turned[: len(turned) // 2], turned[len(turned) // 2 :]
        found.append(float((asked > _gate(learnt.tolist())).mean()))
    return float(np.mean(found)) if found else 0.0
