"""Greedy answers and what counts as right."""

from __future__ import annotations

import pytest

from modelfactory.tests.training.tiny import EXAMPLES
from modelfactory.training.base_files import SHIPPED_BASE
from modelfactory.training.chat import messages_for
from modelfactory.training.evaluate import answers, evaluate, exact_match
from modelfactory.training.lora import train_and_keep
from modelfactory.training.recipe import Recipe


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        ("Ael", " ael. ", True),
        ("Read beyond end of file.", "Read  beyond end of file", True),
        ("404", "404", True),
        ("404", "40", False),
        ("Ael", "Ael and Bosk", False),
        ("Ael", "", False),
    ],
)
def test_an_answer_is_right_whatever_its_case_spacing_and_final_mark(expected, answer, right):
    assert exact_match(expected, answer) is right


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    recipe = Recipe(base=str(SHIPPED_BASE), rank=8, alpha=16, epochs=30, learning_rate=0.005)
    return train_and_keep(recipe, EXAMPLES[:4], tmp_path_factory.mktemp("run"))[1:]


def test_a_tuned_model_says_what_it_learnt_and_its_base_does_not(tuned):
    rows = evaluate(*tuned, EXAMPLES[:4])
    assert [row.tuned_answer for row in rows] == [example.response for example in EXAMPLES[:4]]
    assert not any(row.base_correct for row in rows)


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch(tuned):
    asked = [
        messages_for(one.prompt, ["Some fact."] * number) for number, one in enumerate(EXAMPLES)
    ]
    together = answers(*tuned, asked, batch_size=8)
    assert together == [answers(*tuned, [messages])[0] for messages in asked]
