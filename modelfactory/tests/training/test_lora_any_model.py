"""Any Hugging Face causal language model can be tuned: four families, random weights, real
training.
"""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from transformers import GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

from modelfactory.tests.training.tiny import EXAMPLES, save_tiny_base
from modelfactory.training.base import load_base
from modelfactory.training.chat import messages_for, prompt_ids
from modelfactory.training.lora import train_and_keep
from modelfactory.training.recipe import Recipe

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**SHAPE, "intermediate_size": 48, "num_key_value_heads": 2}
CONFIGS = {
    "llama": LlamaConfig(**GROUPED),
    "qwen2": Qwen2Config(**GROUPED),
    "mistral": MistralConfig(**GROUPED, sliding_window=64),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4),
}


@pytest.mark.parametrize("family", CONFIGS)
def test_a_saved_adapter_gives_the_same_logits_when_loaded_again(family, tmp_path):
    base = save_tiny_base(tmp_path / "base", CONFIGS[family], chat_template=family != "gpt2")
    recipe = Recipe(base=str(base), rank=4, alpha=8, epochs=1, batch_size=2, learning_rate=0.01)
    result, model, tokenizer = train_and_keep(recipe, EXAMPLES[:4], tmp_path / "run")
    assert result.steps == 2
    tuned = _logits(model, tokenizer)
    reloaded = PeftModel.from_pretrained(load_base(base)[0], result.adapter_folder).eval()
    assert torch.allclose(tuned, _logits(reloaded, tokenizer), atol=1e-6)
    assert not torch.allclose(tuned, _logits(load_base(base)[0], tokenizer), atol=1e-3)


def _logits(model, tokenizer):
    ids = torch.tensor([prompt_ids(tokenizer, messages_for("Where is Ael?", ["Ael is in Bo."]))])
    with torch.no_grad():
        return model(input_ids=ids).logits
