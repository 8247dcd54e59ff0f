"""How much of the pay is chance: the same answers paid again with other seeds.

A *sketch* seed only changes how gradients are projected; a *training* seed changes the first
weights and the order of the whole run and of all its retrainings, so the model itself is another.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import bank_file
from bench.influence.contributors import pay
from bench.influence.epoch import epoch_pay, epoch_questions
from bench.influence.ours import Ours, Seeds, our_scores
from bench.influence.tasks import Bench
from modelfactory.attribution.calibrate import spearman

Float64 = npt.NDArray[np.float64]
SKETCH_SEEDS = 4
SMALL_SHARE = 0.01
"""Contributors who earn less than this share of all fees are left out: of next to nothing, a little
more or less is a large part."""


def stability(bench: Bench, first: Ours) -> dict[str, Any]:
    """Agreement of scores and variation of pay over sketch seeds and over training seeds.

    ``answers`` are those of the yardstick, ``epoch`` all that an epoch might have (``epoch.py``).
    """
    folder = bench.folder
    sketch_seeds = [Seeds(sketch=seed) for seed in range(1, SKETCH_SEEDS + 1)]
    training_seeds = [
        Seeds(training=seed) for seed in range(2, bench.seeds() + 1) if _calibrated(bench, seed)
    ]
    sketches = [first, *(our_scores(folder, seeds) for seeds in sketch_seeds)]
    trainings = [first, *(our_scores(folder, seeds) for seeds in training_seeds)]
    epoch = epoch_pay(folder, Seeds())
    return {
        "sketch_self_agreement": _agreement(bench, [one.uncalibrated for one in sketches]),
        "sketch_self_agreement_calibrated": _agreement(bench, [one.calibrated for one in sketches]),
        "training_self_agreement": _agreement(bench, [one.calibrated for one in trainings]),
        "payout_cv_sketch": _variation(_answers_pay(bench, sketches)),
        "payout_cv_training": _variation(_answers_pay(bench, trainings)),
        "epoch_answers": len(epoch_questions(folder)),
        "epoch_payout_cv_sketch": _variation(_epoch_pay(folder, epoch, sketch_seeds)),
        "epoch_payout_cv_training": _variation(_epoch_pay(folder, epoch, training_seeds)),
    }


def _answers_pay(bench: Bench, runs: list[Ours]) -> Float64:
    return np.array([pay(bench, one.calibrated, one.thresholds) for one in runs])


def _epoch_pay(folder: Path, first: Float64, others: list[Seeds]) -> Float64:
    return np.array([first, *(epoch_pay(folder, seeds) for seeds in others)])


def _calibrated(bench: Bench, seed: int) -> bool:
    names = [name for name in bench.plan if name.startswith("refit-") and name.endswith(f"-{seed}")]
    return bool(names) and all(bank_file(bench.folder, name).exists() for name in names)


def _agreement(bench: Bench, runs: list[Float64]) -> float | None:
    """Mean Spearman of an answer's scores between two runs; nothing for a single run."""
    found = [
        spearman(one[at], other[at])
        for one, other in combinations(runs, 2)
        for at in np.flatnonzero(bench.reported)
    ]
    return round(float(np.mean(found)), 4) if found else None


def _variation(paid: Float64) -> dict[str, float] | None:
    """Coefficient of variation of contributors' pay [runs, contributors]: mean, median, largest."""
    if len(paid) < 2:
        return None
    means = paid.mean(axis=0)
    counted = means >= SMALL_SHARE
    found = paid.std(axis=0, ddof=1)[counted] / means[counted]
    return {
        "mean": round(float(found.mean()), 4),
        "median": round(float(np.median(found)), 4),
        "largest": round(float(found.max()), 4),
        "runs": len(paid),
    }
