"""The benchmark of the base measures what it says."""

from __future__ import annotations

import pytest

from bench.base import DEVELOPMENT_SEEDS, PASSAGES, SEEDS, _interval, _questions
from bench.facts import FreshFacts, python_facts
from datanets.wordings import training_wordings
from modelfactory.training.base_model.words import gather


def test_the_scored_facts_are_not_those_that_the_settings_were_chosen_on() -> None:
    assert not set(SEEDS) & set(DEVELOPMENT_SEEDS)
    scored = {fact.question for seed in SEEDS for fact in FreshFacts(seed).draw(48)}
    chosen = {fact.question for seed in DEVELOPMENT_SEEDS for fact in FreshFacts(seed).draw(48)}
    assert len(scored & chosen) <= 4  # a few error codes of three digits can meet


def test_no_question_is_asked_twice_with_different_answers() -> None:
    for seed in SEEDS:
        questions = [fact.question for fact in FreshFacts(seed).draw(48)]
        assert len(questions) == len(set(questions))


def test_no_answer_stands_in_the_pretraining_corpus() -> None:
    sentences = set(gather().sentences)
    facts = [*FreshFacts(SEEDS[0]).draw(48), *python_facts()]
    assert [fact.answer for fact in facts if fact.answer in sentences] == []


def test_every_question_is_a_wording_that_tuning_never_sees() -> None:
    facts = FreshFacts(SEEDS[0]).draw(48)
    trained = {wording.text for fact in facts for wording in training_wordings(fact.question)}
    asked = _questions(facts)
    assert len(asked) >= len(facts)
    assert not {one.question for one in asked} & trained
    assert all(len(one.passages) <= PASSAGES for one in asked)


def test_the_interval_is_students() -> None:
    assert _interval([0.8, 0.9, 1.0]) == [pytest.approx(0.652, abs=1e-3), 1.0]
    assert _interval([0.5]) == [0.5, 0.5]
