"""Effects of contributors: the sign, the interval, and what makes it wide."""

from __future__ import annotations

import numpy as np
import pytest

from modelfactory.attribution.contributor_effects import (
    Effect,
    estimated_effects,
    removal_effects,
)

RANDOM = np.random.default_rng(11)


def test_rows_whose_removal_raises_the_loss_made_the_model_better():
    with_all = np.array([[1.0, 2.0], [1.0, 2.0]])
    found = removal_effects(with_all, {"good": with_all + 0.5, "bad": with_all - 0.25})
    assert found == {"good": Effect(0.5, 0.5, 0.5), "bad": Effect(-0.25, -0.25, -0.25)}


def test_a_single_repeat_is_as_unsure_as_its_questions():
    without = np.array([[0.0, 2.0, 4.0]])
    found = removal_effects(np.zeros((1, 3)), {"a": without})["a"]
    assert found.mean == 2
    assert found.high == pytest.approx(2 + 1.96 * np.sqrt(4 / 3))


def test_repeats_that_disagree_widen_everybodys_interval():
    still = np.ones((2, 4))
    luck = still + np.array([[0.5], [-0.5]])
    found = removal_effects(np.zeros((2, 4)), {"still": still, "luck": luck})
    # Variances between repeats 0 and 0.5, pooled 0.25, of a mean of two 0.125.
    assert found["still"].high == pytest.approx(1 + 1.96 * np.sqrt(0.125))
    assert found["luck"].low == pytest.approx(1 - 1.96 * np.sqrt(0.125))


def test_the_interval_holds_the_true_effect_in_at_least_95_of_100_draws():
    """Ten people without any effect, on 40 questions, twice, with luck of a run and of a question.

    The luck of the runs with all rows is in everybody's difference, and in the pooled spread.
    """
    held = []
    for _ in range(200):
        noise = RANDOM.normal(size=(11, 2, 1)) * 0.2 + RANDOM.normal(size=(11, 2, 40))
        found = removal_effects(noise[0], {str(at): noise[at + 1] for at in range(10)})
        held += [one.low <= 0 <= one.high for one in found.values()]
    assert np.mean(held) >= 0.93


def test_losses_of_other_questions_are_refused():
    with pytest.raises(ValueError, match="same questions"):
        removal_effects(np.zeros((2, 3)), {"a": np.zeros((2, 4))})
    with pytest.raises(ValueError, match="at least of one"):
        removal_effects(np.zeros((1, 0)), {})


def test_an_estimate_sums_the_effects_of_records_and_what_they_are_unsure_of():
    scores, unsure = np.array([[1.0, 2.0, 8.0], [1.0, 2.0, 8.0]]), np.full((2, 3), 0.1)
    found = estimated_effects(scores, unsure, {"two": [0, 1], "one": [2], "none": []})
    assert found["none"] == Effect(0, 0, 0)
    assert found["one"].high == pytest.approx(8 + 1.96 * np.sqrt(2 * 0.01 / 4))
    assert found["two"].high == pytest.approx(3 + 1.96 * np.sqrt(4 * 0.01 / 4))
    assert [found[name].sure for name in ("two", "one", "none")] == [True, True, False]
