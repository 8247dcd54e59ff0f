from __future__ import annotations

import numpy as np
import pytest

from modelfactory.attribution.calibrate import (
    CalibrationQuestion,
    fit_weights,
    held_out_prediction,
    interval,
    learn_gate,
    measure_fidelity,
    ranks,
    spearman,
)
from modelfactory.attribution.calibration import Design, normalised, posterior
from modelfactory.attribution.method import MethodParameters, noise_of
from modelfactory.attribution.subsets import half_subsets, membership, pretended_membership

RECORDS, PHANTOMS, SUBSETS = 30, 20, 24
NAMES = [f"record-{at:02d}" for at in range(RECORDS)]
SIGNS = membership(NAMES, half_subsets(NAMES, SUBSETS, seed=5))
DESIGN = Design(SIGNS, pretended_membership(PHANTOMS, SUBSETS, seed=5))


def question(seed: int, *, sourceless: bool = False) -> CalibrationQuestion:
    """The truth is two records; signal 0 sees it dimly, signal 1 sees nothing."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(RECORDS)
    if not sourceless:
        truth[rng.choice(RECORDS, 2, replace=False)] = (2.0, 1.0)
    seen = (1000 * (truth + 0.4 * rng.standard_normal(RECORDS))).astype(np.int64)
    blind = rng.integers(-1000, 1000, RECORDS)
    noise = [rng.integers(-400, 400, PHANTOMS), rng.integers(-1000, 1000, PHANTOMS)]
    pairs = [normalised(seen, noise[0]), normalised(blind, noise[1])]
    said = SIGNS @ truth / 2 + 0.3 * rng.standard_normal(SUBSETS) - 4
    return CalibrationQuestion(
        "trained",
        np.array([own for own, _ in pairs]),
        np.array([other for _, other in pairs]),
        tuple(int(value * 1e6) for value in said),
    )


FITTED = [question(seed) for seed in range(12)]
HELD_OUT = [question(100 + seed) for seed in range(12)]


@pytest.fixture(scope="module")
def weights():
    return fit_weights(FITTED, SIGNS)


def test_the_signal_that_sees_gets_the_weight(weights):
    assert weights.mean[0] > 3 * weights.mean[1]


def test_fitting_again_gives_the_same_integers(weights):
    assert fit_weights(FITTED, SIGNS) == weights


def test_a_retraining_is_predicted_without_having_been_seen(weights):
    one = HELD_OUT[0]
    changed = tuple(
        value + (10_000_000 if at < 2 else 0)
        for at, value in enumerate(one.log_probabilities_micro)
    )
    lied = CalibrationQuestion("trained", one.signals, one.phantom_signals, changed)
    first, second = (held_out_prediction(item, SIGNS, weights)[:2] for item in (one, lied))
    assert np.allclose(first, second, rtol=0.01)


def test_calibration_beats_its_best_signal_and_chance(weights):
    found = measure_fidelity(HELD_OUT, SIGNS, weights, 1)
    mean, low, high = found["lds"]["trained"]
    assert found["pays"]
    assert low <= mean <= high
    assert mean > found["beside"]["influence"]["trained"] > found["beside"]["random"]["trained"]


def test_scores_that_predict_nothing_do_not_pay(weights):
    rng = np.random.default_rng(1)
    blind = [
        CalibrationQuestion(
            "trained",
            one.signals,
            one.phantom_signals,
            tuple(int(value) for value in rng.integers(-5_000_000, -3_000_000, SUBSETS)),
        )
        for one in HELD_OUT
    ]
    assert not measure_fidelity(blind, SIGNS, fit_weights(blind, SIGNS), 1)["pays"]


def test_answers_without_a_source_pay_nobody_after_the_gate(weights):
    sourceless = [question(500 + seed, sourceless=True) for seed in range(40)]
    gate, figures = learn_gate(sourceless, DESIGN, weights, MethodParameters())
    assert figures["answers"] == 40
    assert figures["false_pay"] <= 0.05
    for one in sourceless:
        found = posterior(
            one.signals, one.phantom_signals, DESIGN, weights, one.log_probabilities_micro
        )
        noise = noise_of(found.phantom_scores, MethodParameters())
        assert 2 * found.scores.max() <= noise * gate // 1000 + noise // 100


def test_most_answers_with_a_source_pass_the_gate(weights):
    sourceless = [question(500 + seed, sourceless=True) for seed in range(40)]
    gate, _ = learn_gate(sourceless, DESIGN, weights, MethodParameters())
    passed = 0
    for one in HELD_OUT:
        found = posterior(
            one.signals, one.phantom_signals, DESIGN, weights, one.log_probabilities_micro
        )
        noise = noise_of(found.phantom_scores, MethodParameters())
        passed += int(found.scores.max()) > noise * gate // 1000
    assert passed >= 0.75 * len(HELD_OUT)


def test_ranks_share_the_mean_of_equal_values():
    assert ranks(np.array([5, 1, 5, 9])).tolist() == [1.5, 0, 1.5, 3]
    assert spearman(np.array([1, 2, 3]), np.array([10, 20, 30])) == pytest.approx(1)
    assert spearman(np.array([1, 1, 1]), np.array([1, 2, 3])) == 0


def test_the_interval_holds_the_mean():
    mean, low, high = interval([0.1, 0.5, 0.9, 0.7])
    assert low < mean < high
    assert interval([]) == []
