"""Tiny bases with random weights, and examples to train them on in seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from modelfactory.training.base_model.tokenizer import train_tokenizer
from modelfactory.training.recipe import Example

EXAMPLES = [
    Example(f"record-{number}", f"What is the capital of {name}?", capital)
    for number, (name, capital) in enumerate(
        [
            ("Velmoria", "Ael"),
            ("Trandia", "Bosk"),
            ("Quorland", "Fen"),
            ("Miralt", "Dusk"),
            ("Zandor", "Gale"),
            ("Oskary", "Hult"),
            ("Pellan", "Ib"),
            ("Karsu", "Jorr"),
        ]
    )
]


def save_tiny_base(folder: Path, config: PreTrainedConfig, *, chat_template: bool = True) -> Path:
    """Save a random model of `config` with a small tokenizer; without a chat template if asked."""
    texts = [f"{example.prompt} {example.response}" for example in EXAMPLES]
    tokenizer = train_tokenizer(texts, 320)
    if not chat_template:
        tokenizer.chat_template = None
    config.vocab_size = len(tokenizer)
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    config.bos_token_id = None
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
