"""The engine says what PEFT says, whoever else is in the batch."""

from __future__ import annotations

import asyncio

import pytest
import torch

from modelfactory.serving.adapter_loader import load_adapter
from modelfactory.serving.multi_lora import MultiLoRA
from modelfactory.serving.slot_cache import SlotCache
from modelfactory.tests.serving.conftest import (
    SHAPES,
    ask,
    collect,
    peft_greedy,
    peft_logits,
    save_adapter,
    tiny_model,
    tokens_of,
)

PROMPTS = [[5, 6, 7], [9] * 20, [40, 41], list(range(60, 75)), [8, 200, 13, 4]]


def mixed_logits(kind, root, digests) -> torch.Tensor:
    """Next-token logits of one mixed ragged batch, each row on its own adapter."""
    model = tiny_model(kind)
    lora, cache = MultiLoRA(model), SlotCache(len(PROMPTS), 64)
    named = {digest for digest in digests if digest is not None}
    lora.activate({digest: load_adapter(root, digest, lora.shapes, 10**8) for digest in named})
    lora.rows(digests)
    batch = cache.prepare(range(len(PROMPTS)), [0] * len(PROMPTS), PROMPTS, torch.float32)
    with torch.inference_mode():
        return model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            attention_mask=batch.attention_mask,
            past_key_values=cache,
            logits_to_keep=batch.last,
        ).logits[:, 0]


def test_logits_of_a_mixed_batch_are_those_of_peft(adapters_root, adapters):
    digests = [*adapters, None]
    found = mixed_logits("llama", adapters_root, digests)
    for row, digest, prompt in zip(found, digests, PROMPTS, strict=True):
        assert (row - peft_logits("llama", adapters_root, digest, prompt)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_logits_agree_on_every_architecture(tmp_path, kind):
    first, second = (save_adapter(tmp_path, kind, seed) for seed in (21, 22))
    digests = [first, None, second, first, second]
    found = mixed_logits(kind, tmp_path, digests)
    for row, digest, prompt in zip(found, digests, PROMPTS, strict=True):
        assert (row - peft_logits(kind, tmp_path, digest, prompt)).abs().max() < 1e-4


def test_the_adapters_really_change_the_answer(adapters_root, adapters):
    answers = {
        tuple(peft_greedy("llama", adapters_root, digest, PROMPTS[0], 8, -1))
        for digest in [*adapters, None]
    }
    assert len(answers) == 5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
async def test_greedy_tokens_of_mixed_requests_are_those_of_peft(
    make_engine, adapters_root, adapters, tokenizer, kind
):
    own = adapters if kind == "llama" else [save_adapter(adapters_root, kind, 31)]
    engine = make_engine(kind, adapters_per_step=3)
    cases = [(digest, prompt) for digest in [*own, None] for prompt in PROMPTS[:3]]
    streams = [
        engine.submit(ask(f"r{at}", prompt, adapter=digest, max_tokens=12))
        for at, (digest, prompt) in enumerate(cases)
    ]
    answers = await asyncio.gather(*map(collect, streams))
    end = tokenizer.eos_token_id
    for (digest, prompt), events in zip(cases, answers, strict=True):
        assert tokens_of(events) == peft_greedy(kind, adapters_root, digest, prompt, 12, end)
