"""A tiny real Llama with a trained-looking LoRA adapter, and a word-level tokenizer."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from modelfactory.attribution.build import Phantom, RecordExamples
from modelfactory.attribution.gradients import TokenExample
from modelfactory.attribution.index import Texts

VOCABULARY = 64


def tiny_peft_model(seed: int = 0) -> PeftModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.1)
    model = get_peft_model(LlamaForCausalLM(config), lora)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


class WordTokenizer:
    """Says every id as a word of its own."""

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return " ".join(f"word{number}" for number in ids)


def example(seed: int, prompt: int = 5, response: int = 3) -> TokenExample:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (prompt + response,), generator=generator).tolist()
    return TokenExample(tuple(ids[:prompt]), tuple(ids[prompt:]))


@pytest.fixture(scope="session")
def model() -> PeftModel:
    return tiny_peft_model()


@pytest.fixture(scope="session")
def records() -> list[RecordExamples]:
    return [
        RecordExamples(
            f"record-{at:02d}", Texts(f"topic{at} means", f"value{at}"), (example(at, 4 + at % 3),)
        )
        for at in range(12)
    ]


@pytest.fixture(scope="session")
def phantoms() -> list[Phantom]:
    return [
        Phantom(Texts(f"phantom{at} means", f"nothing{at}"), example(1000 + at)) for at in range(10)
    ]
