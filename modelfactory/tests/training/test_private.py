"""Private training: every record is clipped and hidden in noise, and nothing is told of a step."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig

from modelfactory.attribution.gradients import lora_modules, response_losses
from modelfactory.tests.training.tiny import EXAMPLES, save_tiny_base
from modelfactory.training import lora, private
from modelfactory.training.lora import StoppedError, train_and_keep
from modelfactory.training.private import (
    clipped_sum,
    gaussian,
    give_private_gradient,
    records_at,
    sample,
    wordings_of,
)
from modelfactory.training.recipe import Example, Privacy, Recipe, RecipeError, private_recipe_for

# Two wordings of the first four records, so that a record is more than one example.
ROWS = [
    *EXAMPLES,
    *(
        dataclasses.replace(example, prompt=f"{example.prompt[:-1]}, please?")
        for example in EXAMPLES[:4]
    ),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    config = LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        attention_dropout=0.5,  # must not reach a gradient: naive ones are taken without
    )
    return save_tiny_base(tmp_path_factory.mktemp("private") / "base", config)


@pytest.fixture(scope="module")
def recipe(base):
    return private_recipe_for(
        "quick", str(base), epsilon=8.0, record_count=8, epochs=2, batch_size=3,
        checkpoint_every_steps=5, max_length=160,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """Result, model and tokenizer of a whole private run, and the events it sent."""
    events, folder = [], tmp_path_factory.mktemp("whole")
    return *train_and_keep(recipe, ROWS, folder, events.append), events


@pytest.fixture(scope="module")
def model(trained):
    return trained[1]


@pytest.fixture(scope="module")
def records(recipe, trained):
    return [one.plain for one in wordings_of(recipe, ROWS, trained[2])]


def naive_gradient(model, record):
    """[numbers] of one record alone: ordinary gradients of its mean loss over its wordings."""
    model.eval()
    weights = [layer.weight for m in lora_modules(model) for layer in (m.down, m.up)]
    loss = sum(response_losses(model, [item])[0].sum() for item in record) / len(record)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights)])


def naive_sum(model, records, clip_norm):
    rows = [naive_gradient(model, record) for record in records]
    return sum(row * min(1.0, clip_norm / row.norm().item()) for row in rows)


def privacy_with(**changes):
    fields = {
        "epsilon": 8.0, "delta": 1e-5, "record_count": 8, "sampling_rate": 0.5, "steps": 1,
        "noise_multiplier": 9.0, "clip_norm": 0.5,
    }  # fmt: skip
    return Privacy(**fields | changes)


@pytest.mark.parametrize("clip_norm", [1e-3, 0.5, 1e6])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_sum_is_that_of_records_clipped_one_by_one(model, records, clip_norm, batch_size):
    expected = naive_sum(model, records, clip_norm)
    _, found = clipped_sum(model, records, clip_norm=clip_norm, batch_size=batch_size)
    assert (found - expected).norm() < 1e-4 * expected.norm()


def test_without_noise_the_matrices_get_the_sum_over_the_expected_number(model, records):
    privacy = privacy_with()
    give_private_gradient(model, records[:3], privacy, batch_size=2, noise=torch.zeros)
    given_gradient = torch.cat(
        [layer.weight.grad.flatten() for m in lora_modules(model) for layer in (m.down, m.up)]
    )
    expected = naive_sum(model, records[:3], privacy.clip_norm) / 4  # 8 records at rate one half
    assert (given_gradient - expected).norm() < 1e-4 * expected.norm()


def test_a_step_without_any_record_is_noise_alone(model):
    privacy = privacy_with()
    give_private_gradient(model, [], privacy, batch_size=2)
    numbers = torch.cat(
        [layer.weight.grad.flatten() for m in lora_modules(model) for layer in (m.down, m.up)]
    )
    deviation = privacy.noise_multiplier * privacy.clip_norm / privacy.expected_records
    assert numbers.std().item() == pytest.approx(deviation, rel=0.05)
    assert abs(numbers.mean().item()) < 5 * deviation / math.sqrt(len(numbers))


def test_the_noise_is_as_wide_as_promised_whatever_the_records(model, records):
    privacy = privacy_with()
    seen = []
    for noise in (torch.zeros, gaussian):
        give_private_gradient(model, records, privacy, batch_size=4, noise=noise)
        seen.append(lora_modules(model)[0].down.weight.grad.flatten().clone())
    deviation = privacy.noise_multiplier * privacy.clip_norm / privacy.expected_records
    assert (seen[1] - seen[0]).std().item() == pytest.approx(deviation, rel=0.25)


@given(
    text=st.text(alphabet="abcdefghij KLMNOP?!.ÄÖ0123456789", min_size=1, max_size=60),
    answer=st.text(alphabet="abcdefghij KLMNOP.0123456789", min_size=1, max_size=60),
    wordings=st.integers(1, 5),
    clip_norm=st.floats(1e-4, 10),
)
@settings(max_examples=25, deadline=None)
def test_no_record_moves_the_sum_by_more_than_the_clip(
    recipe, trained, model, records, text, answer, wordings, clip_norm
):
    """Whatever it says and however often, with it and without it differ by at most C."""
    examples = [Example("new", f"{text} {number}?", f"{answer}!") for number in range(wordings)]
    new = wordings_of(recipe, examples, trained[2])[0].plain
    without = clipped_sum(model, records[:3], clip_norm=clip_norm, batch_size=4)[1]
    beside = clipped_sum(model, [*records[:3], new], clip_norm=clip_norm, batch_size=4)[1]
    assert (beside - without).norm() <= clip_norm * (1 + 1e-4) + 1e-6


def test_a_gradient_that_is_no_number_counts_zero(model, records, monkeypatch):
    broken = private.record_gradients

    def with_nan(model, items):
        found = broken(model, items)
        for one in found.modules.values():
            one[0, 0] = math.nan
        return found

    monkeypatch.setattr(private, "record_gradients", with_nan)
    _, total = clipped_sum(model, records[4:6], clip_norm=0.5, batch_size=8)
    assert torch.isfinite(total).all()
    assert 0 < total.norm() <= 0.5 * (1 + 1e-5)


def test_records_are_taken_one_by_one_and_as_often_as_promised():
    """Poisson sampling: the number of records a step takes varies as that of coins does."""
    rate, count, times = 0.1, 1_000, 300
    sizes = torch.tensor([float(len(sample(count, rate))) for _ in range(times)])
    assert sizes.mean().item() == pytest.approx(rate * count, rel=0.03)
    assert sizes.var().item() == pytest.approx(rate * (1 - rate) * count, rel=0.35)
    both = sum({3, 4} <= set(sample(10, 0.5)) for _ in range(2_000)) / 2_000
    assert both == pytest.approx(0.25, abs=0.05)
    assert sample(5, 1.0) == [0, 1, 2, 3, 4]


def test_noise_is_standard_normal_and_never_the_same():
    one, other = gaussian(200_000), gaussian(200_000)
    assert one.mean().item() == pytest.approx(0, abs=0.015)
    assert one.std().item() == pytest.approx(1, rel=0.01)
    assert (one.abs() > 1.96).double().mean().item() == pytest.approx(0.05, rel=0.06)
    assert abs((one * other).mean().item()) < 0.015
    torch.manual_seed(1)
    again = gaussian(10)
    torch.manual_seed(1)
    assert not torch.equal(again, gaussian(10))


def test_no_other_record_stands_in_a_records_prompt(recipe, trained):
    """Otherwise its gradient would hold theirs, and nobody would have clipped them for it."""
    always = dataclasses.replace(recipe, context_fraction=1.0)
    among = records_at(always, wordings_of(always, ROWS, trained[2]), 7, range(8))
    alone = [
        records_at(
            always,
            wordings_of(always, [row for row in ROWS if row.record_id == name], trained[2]),
            7,
            [0],
        )[0]
        for name in dict.fromkeys(row.record_id for row in ROWS)
    ]
    assert among == alone
    never = dataclasses.replace(recipe, context_fraction=0.0)
    assert records_at(never, wordings_of(never, ROWS, trained[2]), 7, [0]) != among[:1]


def test_a_private_run_tells_steps_and_neither_losses_nor_tokens(recipe, trained):
    result, _, _, events = trained
    assert (result.losses, result.tokens, result.steps) == ((), 0, recipe.privacy.steps)
    steps = [event for event in events if event["event"] == "step"]
    assert [set(event) for event in steps] == [{"event", "step", "steps"}] * recipe.privacy.steps


def test_two_runs_of_one_seed_draw_other_noise(recipe, trained, tmp_path):
    other, _, _ = train_and_keep(recipe, ROWS, tmp_path)
    assert other.adapter_digest != trained[0].adapter_digest


class Killed(Exception):
    """What a kill between two checkpoints looks like from inside."""


def watched(monkeypatch):
    """The sizes that were sampled from, and the noise that was drawn, in order."""
    sampled, drawn = [], []

    def sampling(count, rate):
        sampled.append((count, rate))
        return sample(count, rate)

    def noise(count):
        drawn.append(gaussian(count))
        return drawn[-1]

    monkeypatch.setattr(lora, "sample", sampling)
    monkeypatch.setattr(private.give_private_gradient, "__kwdefaults__", {"noise": noise})
    return sampled, drawn


def test_a_resumed_run_takes_the_steps_that_are_left_and_no_more(recipe, tmp_path, monkeypatch):
    sampled, _ = watched(monkeypatch)
    seen = []
    with pytest.raises(StoppedError) as stopped:
        train_and_keep(recipe, ROWS, tmp_path, seen.append, lambda: len(seen) > 6)
    assert 0 < stopped.value.step < recipe.privacy.steps
    resumed, _, _ = train_and_keep(recipe, ROWS, tmp_path)
    again, _, _ = train_and_keep(recipe, ROWS, tmp_path)
    assert sampled == [(8, recipe.privacy.sampling_rate)] * recipe.privacy.steps
    assert resumed.steps == again.steps == recipe.privacy.steps
    assert again.adapter_digest == resumed.adapter_digest


def test_steps_that_a_kill_undid_are_taken_again_with_other_noise(recipe, tmp_path, monkeypatch):
    """Noise used twice, under two sums, could be subtracted away."""
    _, drawn = watched(monkeypatch)

    def killed_at(event):
        if event["event"] == "step" and event["step"] == 8:  # the newest checkpoint is of step 5
            raise Killed

    with pytest.raises(Killed):
        train_and_keep(recipe, ROWS, tmp_path, killed_at)
    events = []
    train_and_keep(recipe, ROWS, tmp_path, events.append)
    assert events[1] == {"event": "resumed", "step": 5}
    assert len(drawn) == recipe.privacy.steps + 3
    assert len({tuple(noise[:4].tolist()) for noise in drawn}) == len(drawn)


def test_what_nobody_clips_is_not_trained(model, records):
    frozen = next(p for p in model.parameters() if not p.requires_grad)
    frozen.requires_grad_(True)
    try:
        with pytest.raises(RecipeError, match="LoRA layers only"):
            give_private_gradient(model, records[:1], privacy_with(), batch_size=2)
    finally:
        frozen.requires_grad_(False)


def test_a_recipe_with_privacy_comes_back_from_its_json(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert "privacy" not in Recipe(base="b").to_json()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"noise_multiplier": 0.2}, "does not keep epsilon"),
        ({"steps": 100_000}, "does not keep epsilon"),
        ({"noise_multiplier": math.inf}, "positive"),
        ({"noise_multiplier": math.nan}, "positive"),
        ({"clip_norm": 0.0}, "positive"),
        ({"delta": 0.0}, "delta"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"steps": 0}, "steps"),
    ],
)
def test_a_promise_that_the_numbers_do_not_keep_is_refused(changes, complaint):
    with pytest.raises(RecipeError, match=complaint):
        privacy_with(**changes)


@pytest.mark.parametrize("fields", [[], {"epsilon": "8"}, {"epsilon": 8.0}, {"sigma": 1.0}])
def test_a_broken_promise_in_a_recipe_is_refused(fields):
    with pytest.raises(RecipeError):
        Privacy.from_json_object(fields)


@pytest.mark.parametrize("epsilon", [4.0, 8.0, 16.0])
@pytest.mark.parametrize("records", [5, 488, 2_000_000])
def test_a_preset_keeps_its_target_for_any_number_of_records(epsilon, records):
    found = private_recipe_for("balanced", "b", epsilon=epsilon, record_count=records).privacy
    assert found.epsilon_spent <= epsilon
    assert found.delta <= min(1e-5, 1 / (10 * records))
    assert found.expected_records <= 512
