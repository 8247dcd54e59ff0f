"""Retraining an adapter on some of its records.

The yardstick of attribution: a record's influence on an answer *is* how much the answer's
log-probability changes when the same recipe is run without the record (Koh & Liang 2017;
datamodels, Ilyas et al. 2022). A LoRA adapter is small enough to do this for real, a few dozen
times a run.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from peft import PeftModel

from modelfactory.training.lora import train_and_keep
from modelfactory.training.recipe import Example, Recipe


def retrain(
    recipe: Recipe, examples: Sequence[Example], kept: Set[str], folder: Path
) -> tuple[PeftModel, Any]:
    """Run ``recipe`` on the examples whose record is in ``kept``; the adapter is in
    ``folder/adapter``. Resumes like any run; raises what ``training.lora.train`` raises.
    """
    chosen = [example for example in examples if example.record_id in kept]
    _, model, tokenizer = train_and_keep(recipe, chosen, folder)
    return model, tokenizer
