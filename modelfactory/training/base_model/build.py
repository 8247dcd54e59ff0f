"""Build the embedded base from nothing: `python -m modelfactory.training.base_model.build
[FOLDER]`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from modelfactory.training.base_model.facts import FactMaker
from modelfactory.training.base_model.pretrain import Plan, pretrain
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=SHIPPED)
    for entry in dataclasses.fields(Plan):
        kind = {"int": int, "float": float}.get(str(entry.type))
        if kind is not None:
            parser.add_argument(
                f"--{entry.name.replace('_', '-')}", type=kind, default=entry.default
            )
    arguments = vars(parser.parse_args())
    folder: Path = arguments.pop("folder")
    plan = Plan(**arguments)
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    words = gather()
    tokenizer = build_tokenizer(plan, words)
    tokenizer.save_pretrained(folder)
    model = pretrain(
        plan, tokenizer, words, lambda figures: print(json.dumps(figures), flush=True), keep=folder
    )
    model.save_pretrained(folder)
    (folder / "build.json").write_text(json.dumps(dataclasses.asdict(plan), indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
