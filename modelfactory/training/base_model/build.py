"""Build the embedded base from nothing: `python -m modelfactory.training.base_model.build
[FOLDER]`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from functools import partial
from pathlib import Path
from typing import cast

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from modelfactory.training.base_model.documents import DocumentMaker
from modelfactory.training.base_model.facts import FactMaker
from modelfactory.training.base_model.pretrain import Plan, new_model, pretrain
from modelfactory.training.base_model.tokenizer import train_tokenizer
from modelfactory.training.base_model.words import Words, gather

SHIPPED = Path(__file__).resolve().parents[2] / "base_models" / "openledger-base"


def build_tokenizer(plan: Plan, words: Words) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the docstrings and on invented facts, so that names cut into few
    pieces.
    """
    maker = FactMaker(words, random.Random(plan.seed))  # noqa: S311 - reproducible, not secret
    texts = list(words.paragraphs)
    for _ in range(20_000):
        fact = maker.fact()
        texts.append(
            " ".join([maker.rng.choice(fact.questions), maker.rng.choice(fact.statements)])
        )
    return train_tokenizer(texts, plan.vocabulary)


def main() -> None:
    """Build into FOLDER; progress as JSON lines on stdout."""
    parser = argparse.ArgumentParser(description="Build the embedded base model.")
    parser.add_argument("folder", nargs="?", type=Path, default=SHIPPED)
    parser.add_argument("--after", type=Path, help="go on from this folder, built by stage 1")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    plan = Plan()
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True, exist_ok=True)
    words = gather()
    tokenizer = build_tokenizer(plan, words)
    model = new_model(plan, tokenizer)
    if arguments.after is not None:
        loaded = PreTrainedTokenizerFast.from_pretrained(arguments.after)
        tokenizer = cast("PreTrainedTokenizerFast", loaded)
        model.load_state_dict(LlamaForCausalLM.from_pretrained(arguments.after).state_dict())
    model = model.bfloat16()
    tokenizer.save_pretrained(folder)
    for number, stage in enumerate(plan.stages, start=1):
        if number > 1 or arguments.after is None:
            seeds = (plan.seed + number, plan.seed + 1_000_000 + number)
            makers = tuple(DocumentMaker(tokenizer, words, seed) for seed in seeds)
            pretrain(model, stage, (makers[0], makers[1]), partial(_report, number))
            model.save_pretrained(folder)


def _report(stage: int, figures: dict[str, float]) -> None:
    print(json.dumps({"stage": stage, **figures}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
