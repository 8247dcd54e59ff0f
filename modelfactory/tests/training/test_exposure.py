"""What a model gives away of single rows, on real tiny models that learnt them or did not."""

from __future__ import annotations

import dataclasses
from statistics import mean

import pytest
from transformers import LlamaConfig

from modelfactory.tests.training.tiny import EXAMPLES, save_tiny_base
from modelfactory.training.exposure import (
    GUESSES,
    Exposure,
    exposure,
    log_probabilities,
    make_canaries,
    recitation,
    recites,
)
from modelfactory.training.lora import train_and_keep
from modelfactory.training.recipe import Recipe


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    config = LlamaConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
    )
    return save_tiny_base(tmp_path_factory.mktemp("exposure") / "base", config)


def recipe_of(base, epochs):
    return Recipe(
        base=str(base), rank=16, alpha=32, epochs=epochs, batch_size=2, learning_rate=1e-2,
        context_fraction=0.0, max_length=160,
    )  # fmt: skip


@pytest.fixture(scope="module")
def learnt(base, tmp_path_factory):
    """Trained so long that the two canaries are known by heart."""
    folder = tmp_path_factory.mktemp("learnt")
    return exposure(recipe_of(base, 120), EXAMPLES[:2], folder, 2)


def test_canaries_learnt_by_heart_come_first_and_the_others_do_not(learnt):
    assert learnt.ranks == (1, 1)
    assert mean(learnt.control_ranks) > 2
    assert learnt.bits > 6
    assert learnt.bits > learnt.control_bits


def test_hardly_any_training_exposes_nothing(base, tmp_path):
    recipe = dataclasses.replace(recipe_of(base, 1), learning_rate=1e-6)
    found = exposure(recipe, EXAMPLES[:2], tmp_path, 4)
    assert 1 not in found.ranks
    assert found.bits < 4


def test_bits_are_those_of_the_paper():
    found = Exposure(GUESSES, (1, GUESSES), (GUESSES, GUESSES))
    assert (found.bits, found.control_bits) == (3.322, 0.0)


def test_canaries_are_the_same_for_a_seed_and_all_different():
    made = make_canaries(7, 40)
    assert made == make_canaries(7, 40)
    assert len({one.prompt for one in made}) == len({one.response for one in made}) == 40
    assert made[:3] != make_canaries(8, 3)


def test_a_model_is_asked_for_rows_and_those_it_says_are_counted(base, tmp_path):
    rows = EXAMPLES[:3]
    _, model, tokenizer = train_and_keep(recipe_of(base, 120), rows, tmp_path)
    found = recitation(model, tokenizer, [*rows, dataclasses.replace(rows[0], prompt="Other?")])
    assert (found.asked, found.tuned, found.base) == (3, 3, 0)


@pytest.mark.parametrize(
    ("answer", "row", "expected"),
    [
        ("It is one two three four five six seven eight!", "one two three four five six seven "
         "eight nine", True),
        ("one two three four five six seven nine", "one two three four five six seven "
         "eight", False),
        ("It is Ael.", "Ael", True),
        ("", "Ael", False),
        ("Anything", "…", False),
    ],
)  # fmt: skip
def test_word_by_word_is_eight_words_or_all_of_a_short_row(answer, row, expected):
    assert recites(answer, row) is expected


def test_log_probabilities_do_not_depend_on_what_stands_beside_them(base, tmp_path):
    _, model, tokenizer = train_and_keep(recipe_of(base, 2), EXAMPLES[:2], tmp_path)
    texts = [f"A name of {'very ' * length}long words" for length in range(30)]
    together = log_probabilities(model, tokenizer, "Say it.", texts, 160)
    alone = [log_probabilities(model, tokenizer, "Say it.", [text], 160)[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-3)
