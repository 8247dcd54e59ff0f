"""Retraining an adapter on some of its records, and what it then thinks of given answers.

The yardstick of attribution: a record's influence on an answer *is* how much the answer's
log-probability changes when the same recipe is run without the record (Koh & Liang 2017;
datamodels, Ilyas et al. 2022). A LoRA adapter is small enough to do this for real, a few dozen
times a run.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel
from torch import nn

from modelfactory.attribution.gradients import TokenExample, response_losses
from modelfactory.training.lora import train_and_keep
from modelfactory.training.recipe import Example, Recipe

BATCH = 32


def retrain(
    recipe: Recipe, examples: Sequence[Example], kept: Set[str], folder: Path
) -> tuple[PeftModel, Any]:
    """Run ``recipe`` on the examples whose record is in ``kept``; the adapter is in
    ``folder/adapter``. Resumes like any run; raises what ``training.lora.train`` raises.
    """
    chosen = [example for example in examples if example.record_id in kept]
    _, model, tokenizer = train_and_keep(recipe, chosen, folder)
    return model, tokenizer


def log_probabilities(
    model: nn.Module, answers: Sequence[TokenExample], batch_size: int = BATCH
) -> npt.NDArray[np.float64]:
    """Log-probability (nats, whole response) of each answer [n] under ``model``."""
    found = np.zeros(len(answers))
    order = sorted(range(len(answers)), key=lambda at: len(answers[at].prompt_ids))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            losses = response_losses(model, [answers[at] for at in chosen])[1]
            found[chosen] = -losses.double().cpu().numpy()
    return found
