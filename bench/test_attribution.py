"""The benchmark of attribution measures what it says, and looks at nothing it may not see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bench.influence.bank import (
    FULL,
    SMALL_PLAN,
    PlanSize,
    bank_file,
    plan_of,
    prepare,
)
from bench.influence.contributors import agreement, fee_shares
from bench.influence.exchange import read_scores
from bench.influence.mislabelled import SEED, WRONG, auc, spoilt_world
from bench.influence.tasks import Bench, reported_once, table
from bench.influence.world import KINDS, SMALL, WorldSize, make_world

WORLD = make_world(3, WorldSize(health=0))


def test_a_world_is_the_same_for_its_seed() -> None:
    assert make_world(3, WorldSize(health=0)) == WORLD
    assert make_world(4, WorldSize(health=0)) != WORLD


def test_no_record_is_asked_about_both_to_choose_and_to_report() -> None:
    asked: dict[bool, set[str]] = {True: set(), False: set()}
    for question in WORLD.questions:
        if question.record_id:
            asked[question.reported].add(question.record_id)
    assert asked[True]
    assert not asked[True] & asked[False]


def test_figures_are_of_texts_that_nobody_chose_by_and_that_come_once() -> None:
    once = reported_once(WORLD.questions)
    texts = [one.text for one, counts in zip(WORLD.questions, once, strict=True) if counts]
    chosen_by = {question.text for question in WORLD.questions if not question.reported}
    assert len(texts) == len(set(texts)) > 90
    assert not chosen_by & set(texts)
    assert len(texts) < sum(question.reported for question in WORLD.questions)


def test_trained_wordings_are_trained_and_the_others_never() -> None:
    trained = {example.prompt for example in WORLD.examples()}
    for question in WORLD.questions:
        assert (question.text in trained) == (question.kind == "trained"), question


def test_a_place_alone_does_not_name_the_record_or_its_owner() -> None:
    places = {row.question.rstrip("?").split()[-1] for row in WORLD.rows if row.origin == "place"}
    capital = next(row for row in WORLD.rows if row.question.startswith("What is the capital of"))
    place = capital.question.rstrip("?").split()[-1]
    about = [row for row in WORLD.rows if place in row.question]
    assert place in places
    assert len(about) == 6
    assert len({row.contributor for row in about}) > 2


def test_retrainings_come_in_complementary_pairs_and_none_is_used_twice() -> None:
    plan = plan_of(WORLD, PlanSize())
    names = {row.record_id for row in WORLD.rows}
    fits = [set(item.kept) for item in plan if item.name.startswith("fit-")]
    tests = [set(item.kept) for item in plan if item.name.startswith("lds-")][:100]
    assert (len(fits), len(tests)) == (32, 100)
    assert all(one | other == names for one, other in zip(fits[::2], fits[1::2], strict=True))
    assert not [kept for kept in fits if kept in tests]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A folder whose bank follows a planted truth: each question is moved by its own record."""
    world = prepare(tmp_path, 3, SMALL, SMALL_PLAN)
    found = Bench(tmp_path)
    rng = np.random.default_rng(0)
    truth = planted(found)
    for item in plan_of(world, SMALL_PLAN):
        kept = np.array([float(name in item.kept) for name in found.names])
        values = truth @ kept + 0.01 * rng.standard_normal(len(world.questions))
        np.savez(bank_file(tmp_path, item.name), log_probabilities=values)
    return found


def planted(bench: Bench) -> npt.NDArray[np.float64]:
    truth = np.zeros((len(bench.world.questions), len(bench.names)))
    for at, source in enumerate(bench.sources):
        truth[at, source if source >= 0 else at % len(bench.names)] = 1.0
    return truth


def test_the_truth_predicts_retraining_and_chance_does_not(bench: Bench) -> None:
    right, wrong = bench.lds(planted(bench)), bench.lds(-planted(bench))
    assert all(right[kind][0] > 0.8 for kind in KINDS)
    assert all(wrong[kind][0] < -0.8 for kind in KINDS)


def test_settings_are_chosen_on_what_is_not_reported(bench: Bench) -> None:
    settings = np.stack([-planted(bench), planted(bench)])
    settings[1, bench.reported] *= -1  # as wrong as can be on what is reported
    assert bench.choose(settings) == 1


def test_paying_by_the_truth_pays_contributors_what_their_rows_are_worth(bench: Bench) -> None:
    found = agreement(bench, {"truth": planted(bench), "chance": -planted(bench)}, {})
    assert found["truth"]["of_fees"] > 0.85  # of few questions
    assert found["truth"]["fees_to_another"] < 0.1
    assert found["truth"]["of_fees"] > found["chance"]["of_fees"]
    assert bench.tracing(planted(bench)) == {"mrr": 1.0, "recall_at_1": 1.0, "recall_at_10": 1.0}


def test_fees_are_split_by_what_is_above_zero_and_answers_weigh_the_same() -> None:
    amounts = np.array([[9.0, 1.0], [1.0, -5.0], [-3.0, 0.0]])
    assert fee_shares(amounts).tolist() == pytest.approx([1.9 / 2, 0.1 / 2, 0])
    assert fee_shares(-np.abs(amounts)).tolist() == [0, 0, 0]


def test_ties_help_a_rank_correlation_and_not_pearsons(bench: Bench) -> None:
    rng = np.random.default_rng(1)
    truth = planted(bench)
    noisy = truth + 0.02 * rng.standard_normal(truth.shape)
    ties = bench.lds(truth)["trained"][0] - bench.lds(noisy)["trained"][0]
    assert ties > 0
    assert bench.pearson(noisy)["trained"][0] > 0.95


def test_a_peer_that_failed_is_shown_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "dead.json").write_text(json.dumps({"package": "x", "error": "no"}))
    (peer,) = read_scores(tmp_path)
    assert (peer.scores, peer.about["error"]) == (None, "no")
    nothing: dict[str, dict[str, str]] = {"lds": {}, "removal": {}, "failed": {"dead": "no"}}
    assert "- dead: no" in table(nothing)


def test_the_whole_model_comes_first_since_all_are_asked_about_its_answers() -> None:
    assert plan_of(WORLD, PlanSize())[0].name == FULL


def test_wrong_rows_read_like_right_ones_and_each_is_somebody_elses_answer() -> None:
    right, spoilt = make_world(SEED, WorldSize(health=0)), spoilt_world(size=WorldSize(health=0))
    wrong = [
        (row, other)
        for row, other in zip(spoilt.rows, right.rows, strict=True)
        if row.answer != other.answer
    ]
    assert 10 <= len(wrong) <= WRONG
    assert {row.answer for row, _ in wrong} == {other.answer for _, other in wrong}
    assert all(row.question == other.question for row, other in wrong)


def test_auc_is_one_for_a_perfect_order_and_a_half_for_none() -> None:
    wrong = np.array([True, False, True, False])
    assert auc(np.array([3.0, 1.0, 2.0, 0.0]), wrong) == 1
    assert auc(np.zeros(4), wrong) == 0.5
    assert auc(np.array([0.0, 1.0, 3.0, 2.0]), wrong) == 0.5
