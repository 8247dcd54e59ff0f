from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from modelfactory.attribution.gradients import (
    LoraModule,
    TokenExample,
    lora_modules,
    record_gradients,
    response_losses,
)
from modelfactory.tests.attribution.conftest import example, tiny_peft_model

RAGGED = [example(at, prompt=3 + at, response=1 + at % 4) for at in range(7)]


def naive(model, module: LoraModule, item: TokenExample) -> torch.Tensor:
    """One record alone, by the ordinary parameter gradient."""
    model.eval()
    with sdpa_kernel(SDPBackend.MATH):
        loss = response_losses(model, [item])[0].sum()
        wanted = [module.down.weight, module.up.weight]
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, wanted)])


@pytest.fixture(scope="module")
def batch(model):
    return record_gradients(model, RAGGED)


def test_a_ragged_batch_gives_the_gradients_of_the_naive_loop(model, batch):
    for module in lora_modules(model):
        expected = torch.stack([naive(model, module, item) for item in RAGGED])
        difference = (batch.modules[module.name] - expected).norm(dim=1)
        assert (difference / expected.norm(dim=1)).max() < 1e-5


def test_every_linear_layer_of_every_block_has_a_gradient(batch):
    assert len(batch.modules) == 2 * 7
    assert all(values.abs().sum(dim=1).min() > 0 for values in batch.modules.values())


def test_prompt_tokens_carry_no_loss(model):
    model.eval()
    long_prompt = TokenExample((9, *RAGGED[0].prompt_ids), RAGGED[0].response_ids)
    with torch.no_grad():
        logits = model(torch.tensor([[*long_prompt.prompt_ids, *long_prompt.response_ids]])).logits
        chosen = (
            logits[0, 3:-1].log_softmax(-1).gather(1, torch.tensor([long_prompt.response_ids]).T)
        )
    found = record_gradients(model, [long_prompt]).log_probabilities
    assert torch.allclose(found, chosen.sum(), atol=1e-5)


def test_gradients_come_from_an_adapter_loaded_for_inference_too(batch):
    frozen = tiny_peft_model()
    frozen.requires_grad_(False)
    name = next(iter(batch.modules))
    assert torch.equal(record_gradients(frozen, RAGGED).modules[name], batch.modules[name])


def test_the_model_is_left_as_it_was(model):
    model.train()
    record_gradients(model, RAGGED[:2])
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.down._forward_hooks for module in lora_modules(model))


def test_an_example_without_a_response_is_refused():
    with pytest.raises(ValueError, match="response tokens"):
        TokenExample((1, 2), ())
