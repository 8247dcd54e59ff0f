"""Training: learns, repeats itself exactly, resumes where it stopped."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig

from modelfactory.tests.training.tiny import EXAMPLES, save_tiny_base
from modelfactory.training.adapter import adapter_digest
from modelfactory.training.batches import collate, epoch_batches, steps_per_epoch
from modelfactory.training.chat import IGNORED_LABEL
from modelfactory.training.lora import SECOND_MOMENTS, StoppedError, response_loss, train_and_keep
from modelfactory.training.lora import train as train_adapter
from modelfactory.training.recipe import Example, Recipe, RecipeError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    config = LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
    )
    return save_tiny_base(tmp_path_factory.mktemp("lora") / "base", config)


@pytest.fixture(scope="module")
def recipe(base):
    return Recipe(
        base=str(base),
        rank=4,
        alpha=8,
        epochs=4,
        batch_size=2,
        learning_rate=0.02,
        checkpoint_every_steps=3,
        context_fraction=0.5,
    )


@pytest.fixture(scope="module")
def uninterrupted(recipe, tmp_path_factory):
    return train_adapter(recipe, EXAMPLES, tmp_path_factory.mktemp("whole"))


def adapter_of(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_the_loss_falls(uninterrupted):
    losses = [loss for _, loss in uninterrupted.losses]
    assert sum(losses[-4:]) < 0.97 * sum(losses[:4])  # noise of this random base: 0.2 %


def test_the_same_recipe_and_examples_give_the_same_digest(recipe, uninterrupted, tmp_path):
    again = train_adapter(recipe, EXAMPLES, tmp_path)
    assert again.adapter_digest == uninterrupted.adapter_digest


def test_another_seed_gives_another_adapter(base, uninterrupted, tmp_path):
    other = Recipe(base=str(base), rank=4, alpha=8, epochs=4, batch_size=2, seed=2)
    assert train_adapter(other, EXAMPLES, tmp_path).adapter_digest != uninterrupted.adapter_digest


@pytest.mark.parametrize("stop_after", [1, 7])
def test_a_stopped_run_resumes_to_the_same_adapter(recipe, uninterrupted, tmp_path, stop_after):
    steps = []
    with pytest.raises(StoppedError):
        train_adapter(recipe, EXAMPLES, tmp_path, steps.append, lambda: len(steps) > stop_after)
    events = []
    resumed = train_adapter(recipe, EXAMPLES, tmp_path, events.append)
    assert [event["event"] for event in events[:2]] == ["loading", "resumed"]
    whole = adapter_of(uninterrupted.adapter_folder)
    for name, weights in adapter_of(resumed.adapter_folder).items():
        assert torch.allclose(weights, whole[name], atol=1e-6), name
    assert dict(resumed.losses) == pytest.approx(dict(uninterrupted.losses))


def test_a_finished_run_started_again_trains_nothing_more(recipe, tmp_path):
    first = train_adapter(recipe, EXAMPLES, tmp_path)
    events = []
    second = train_adapter(recipe, EXAMPLES, tmp_path, events.append)
    assert [event["event"] for event in events] == ["loading", "resumed"]
    assert second.adapter_digest == first.adapter_digest


def test_a_folder_of_another_run_is_refused(recipe, tmp_path):
    train_adapter(recipe, EXAMPLES, tmp_path)
    with pytest.raises(RecipeError, match="another recipe or other examples"):
        train_adapter(recipe, EXAMPLES[:-1], tmp_path)


def test_without_examples_there_is_nothing_to_train(recipe, tmp_path):
    with pytest.raises(RecipeError, match="no examples"):
        train_adapter(recipe, [], tmp_path)


def test_the_digest_changes_with_one_byte_of_the_weights(uninterrupted):
    weights = uninterrupted.adapter_folder / "adapter_model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert adapter_digest(uninterrupted.adapter_folder) != uninterrupted.adapter_digest
    finally:
        weights.write_bytes(content)


def test_no_path_of_this_machine_is_in_the_adapter(uninterrupted, base):
    config = (uninterrupted.adapter_folder / "adapter_config.json").read_text()
    assert str(base.parent) not in config


def test_second_moments_are_kept_for_every_trained_matrix(uninterrupted):
    moments = load_file(uninterrupted.adapter_folder.parent / SECOND_MOMENTS)
    assert len(moments) == len(adapter_of(uninterrupted.adapter_folder))
    assert all((moment > 0).any() for moment in moments.values())


def test_the_loss_counts_response_tokens_only(recipe, tmp_path):
    _, model, tokenizer = train_and_keep(recipe, EXAMPLES, tmp_path)
    rendered = epoch_batches(recipe, EXAMPLES, tokenizer, epoch=0)[0]
    batch = collate(rendered, tokenizer.pad_token_id)
    with torch.no_grad():
        logits = model(input_ids=batch.ids).logits[:, :-1].flatten(0, 1)
        whole = torch.nn.functional.cross_entropy(logits, batch.labels[:, 1:].flatten())
        assert torch.allclose(response_loss(model, batch), whole, atol=1e-6)
    assert (batch.labels == IGNORED_LABEL).sum() > batch.labels.numel() / 2


@pytest.mark.parametrize("count", [1, 7, 16, 33, 260])
def test_an_epoch_shows_each_example_once_in_the_promised_number_of_steps(recipe, base, count):
    from modelfactory.training.base import load_base

    _, tokenizer = load_base(base)
    examples = [Example(str(number), f"What is {number}?", str(number)) for number in range(count)]
    batches = epoch_batches(recipe, examples, tokenizer, epoch=1)
    assert len(batches) == steps_per_epoch(recipe, count)
    answers = sorted(tokenizer.decode(one.ids).split()[-1] for batch in batches for one in batch)
    assert answers == sorted(f"{number}<|end|>" for number in range(count))
