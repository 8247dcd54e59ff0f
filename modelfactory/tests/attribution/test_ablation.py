"""Leave one passage out, on the shipped base: it reads facts it was never taught."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modelfactory.attribution import ablation
from modelfactory.attribution.ablation import PromptDiffersError, passage_effects
from modelfactory.attribution.gradients import TokenExample, response_losses
from modelfactory.training.base import load_base
from modelfactory.training.chat import messages_for, prompt_ids, record_passage, render

BASE = Path(__file__).parents[2] / "base_models" / "openledger-base"
ASKED = "What is known about the kite?"
ANSWER = "It eats carrion."
PASSAGES = [
    record_passage("What is known about the wren?", "It weighs ten grams."),
    record_passage(ASKED, ANSWER),
    record_passage("What is known about the rook?", "It nests in elms."),
]
MESSAGES = messages_for(ASKED)


@pytest.fixture(scope="module")
def base():
    return load_base(str(BASE))


@pytest.fixture(scope="module")
def answer(base):
    rendered = render(base[1], MESSAGES, ANSWER)
    return rendered.ids[rendered.prompt_length :]


def test_the_passage_that_holds_the_answer_has_the_largest_effect(base, answer):
    effects = passage_effects(*base, MESSAGES, PASSAGES, answer).effects_micro_nats
    assert max(effects) == effects[1]
    assert effects[1] > 1_000_000 > max(effects[0], effects[2])  # a nat and more


def test_its_effect_does_not_depend_on_where_it_stands(base, answer):
    turned = [PASSAGES[1], PASSAGES[0], PASSAGES[2]]
    effects = passage_effects(*base, MESSAGES, turned, answer).effects_micro_nats
    assert max(effects) == effects[0] > 1_000_000


def test_of_two_passages_that_say_the_same_each_can_be_spared_but_not_both(base, answer):
    found = passage_effects(*base, MESSAGES, [PASSAGES[1], PASSAGES[1]], answer)
    assert max(found.effects_micro_nats) < found.together_micro_nats / 2


def test_the_figures_are_those_of_the_prompts_the_engine_renders(base, answer):
    model, tokenizer = base
    served = prompt_ids(tokenizer, messages_for(ASKED, PASSAGES))
    found = passage_effects(model, tokenizer, MESSAGES, PASSAGES, answer, served)
    with torch.inference_mode():
        alone = -float(response_losses(model, [TokenExample(tuple(served), answer)])[1])
    assert found.all_micro_nats == pytest.approx(alone * 1e6, abs=50)


def test_one_pass_or_many_gives_the_same_to_a_few_millionths(base, answer, monkeypatch):
    at_once = passage_effects(*base, MESSAGES, PASSAGES, answer)
    monkeypatch.setattr(ablation, "BATCH_TOKENS", 1)
    assert passage_effects(*base, MESSAGES, PASSAGES, answer).effects_micro_nats == pytest.approx(
        at_once.effects_micro_nats, abs=100
    )


def test_another_prompt_than_the_served_one_is_refused(base, answer):
    served = prompt_ids(base[1], messages_for(ASKED, PASSAGES))
    with pytest.raises(PromptDiffersError):
        passage_effects(*base, MESSAGES, PASSAGES[:2], answer, served)
