"""Recipes and examples: round trips, and refusals that name the field."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelfactory.training.recipe import (
    EFFORTS,
    Example,
    Recipe,
    RecipeError,
    estimate_seconds,
    read_examples,
    recipe_for,
    write_examples,
)


def test_a_recipe_comes_back_from_its_json_unchanged():
    recipe = Recipe(base="some/base", rank=4, learning_rate=0.002)
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_the_same_recipe_always_has_the_same_json():
    assert Recipe(base="b", rank=4).to_json() == Recipe(rank=4, base="b").to_json()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "schema"),
        ('{"schema":2,"base":"b"}', "schema"),
        ('{"schema":1,"base":"b","rnak":4}', "rnak"),
        ('{"schema":1,"base":"b","rank":"4"}', "rank"),
        ('{"schema":1,"base":"b","rank":0}', "rank"),
        ('{"schema":1,"base":"b","learning_rate":0}', "learning_rate"),
        ('{"schema":1,"base":""}', "base"),
    ],
)
def test_a_bad_recipe_is_refused_by_the_name_of_its_field(text, complaint):
    with pytest.raises(RecipeError, match=complaint):
        Recipe.from_json(text)


def test_examples_come_back_from_their_file_in_order(tmp_path):
    examples = [Example("1", "Où?", "Là."), Example("2", "Why?", "So.", context="a\nb")]
    write_examples(tmp_path / "examples.jsonl", examples)
    assert list(read_examples(tmp_path / "examples.jsonl")) == examples


def test_a_bad_example_is_named_by_its_line_and_not_quoted(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text('{"record_id":"1","prompt":"p","response":"r"}\n{"prompt":"secret"}\n')
    with pytest.raises(RecipeError, match="line 2") as raised:
        list(read_examples(path))
    assert "secret" not in str(raised.value)


def test_more_effort_is_estimated_to_take_longer():
    seconds = [estimate_seconds(recipe_for(effort, "b"), 5_000) for effort in EFFORTS]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == len(EFFORTS)


def test_recipes_chat_and_digests_can_be_used_without_torch():
    code = (
        "import sys, modelfactory.training.recipe, modelfactory.training.chat, "
        "modelfactory.training.adapter; print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
