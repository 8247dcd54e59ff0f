"""Loads a base model and its tokenizer from a folder or the Hugging Face hub; safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel


class BaseError(ValueError):
    """A base model that cannot be used; the message says why."""


def load_base(path_or_id: str | Path) -> tuple[PreTrainedModel, Any]:
    """The model in fp32 and evaluation mode, and its tokenizer with a padding token.

    `path_or_id` is a local folder or a hub id. Code from the repository is never run and pickled
    weights are never read. Raises BaseError.
    """
    source = str(path_or_id)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            source, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        raise BaseError(f"base model {source}: {error}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise BaseError(f"base model {source}: its tokenizer has no padding, end or unknown token")
    model.train(False)
    return model, tokenizer
