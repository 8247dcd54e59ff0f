"""The attack suite measures what it says, and the payout rule holds at a small size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.influence.world import WorldSize
from bench.manipulation import attacks
from bench.manipulation.attacks import ATTACKER
from bench.manipulation.market import RULES, Market, Outcome
from bench.manipulation.suite import ATTACKS, Size, Suite
from modelfactory.attribution.duplicates import cluster_positions
from modelfactory.attribution.phantoms import Statement

SMALL = Size(
    world=WorldSize(
        places=1, health=0, noise=0, contributors=2, fitting_questions=0, reported_questions=1
    ),
    honest_seeds=1,
    trained_wordings=1,
    rewordings=0,
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    folder = tmp_path_factory.mktemp("attacks")
    return Suite(Market(folder, wordings=2), 11, SMALL)


@pytest.fixture(scope="module")
def doubled(suite: Suite) -> Outcome:
    return suite.attacked("duplicates-2", attacks.duplicates(suite.own, 2))


def test_copies_are_paid_when_undefended_and_never_when_defended(doubled: Outcome) -> None:
    copies = [row.record_id for row in doubled.rows if row.record_id.startswith("copy")]
    assert doubled.pay("undefended").of_records(copies) > 0
    assert doubled.pay("defended").of_records(copies) == 0


def test_accounts_do_not_change_what_all_of_them_earn(doubled: Outcome) -> None:
    copies = {row.record_id: "sybil" for row in doubled.rows if row.record_id.startswith("copy")}
    for rule in RULES:
        alone = doubled.pay(rule).of(ATTACKER)
        assert doubled.pay(rule, copies).of(ATTACKER, "sybil") == pytest.approx(alone)


def test_every_answer_that_has_a_source_pays_one_whole_fee(doubled: Outcome) -> None:
    for rule in RULES:
        total = doubled.pay(rule).total
        assert total == pytest.approx(round(total))
        assert 0 < round(total) <= len(doubled.sales)


def test_an_outcome_is_read_again_as_it_was(suite: Suite, doubled: Outcome) -> None:
    again = suite.attacked("duplicates-2", [])
    assert again.pay("defended") == doubled.pay("defended")


def test_buying_answers_about_own_rows_always_loses(suite: Suite, doubled: Outcome) -> None:
    suite.__dict__["honest"] = [doubled]  # any trained world will do
    for figures in suite.self_dealing().values():
        assert all(0 < figure < 1 for figure in figures.values())


@pytest.mark.parametrize("change", [attacks.other_case, attacks.rewording, attacks.paraphrase])
def test_a_changed_copy_is_found_when_it_trains_the_same(
    suite: Suite, change: attacks.Change
) -> None:
    row = suite.own[0]
    question, answer = change(row)
    assert (question, answer) != (row.question, row.answer)
    rows = [*suite.others, row]
    records = [*(Statement(one.question, one.answer) for one in rows), Statement(question, answer)]
    gradients = np.eye(len(records), dtype=np.float32)
    gradients[-1] = gradients[-2]
    assert cluster_positions(records, gradients)[-1] == len(rows) - 1


def test_look_alikes_are_never_merged_however_alike_they_train(suite: Suite) -> None:
    one, two = attacks.look_alikes(suite.rows, suite.seed)
    records = [Statement(row.question, row.answer) for row in (*suite.rows, *one, *two)]
    alike = np.ones((len(records), 1), dtype=np.float32)
    found = cluster_positions(records, alike)
    assert found == list(range(len(records)))


def test_every_attack_is_named_once() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_the_whole_suite_at_a_small_size(tmp_path: Path) -> None:
    suite = Suite(Market(tmp_path, wordings=2), 11, SMALL)
    figures = suite.measure()
    assert [attack.name for attack in ATTACKS] == list(figures)
