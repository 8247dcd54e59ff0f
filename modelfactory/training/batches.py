"""Which examples are trained in which step: a pure function of recipe and examples, so that a
resumed run agrees.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelfactory.training.chat import IGNORED_LABEL, Rendered, messages_for, record_passage, render
from modelfactory.training.recipe import Example, Recipe

CONTEXT_PASSAGES = 4


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels`, both (examples, longest); right padding, labels -100 where nothing is
    learnt.
    """

    ids: Tensor
    labels: Tensor


def epoch_batches(
    recipe: Recipe, examples: Sequence[Example], tokenizer: Any, epoch: int
) -> list[list[Rendered]]:
    """The batches of one epoch. Examples of similar length meet, so that little is padded."""
    rng = random.Random(f"{recipe.seed}:{epoch}")  # noqa: S311 - reproducible, not secret
    passages = {
        example.record_id: record_passage(example.prompt, example.response)
        for example in reversed(examples)
    }
    rendered = []
    for example in examples:
        shown = example.passages
        if not shown and rng.random() < recipe.context_fraction:
            shown = _context(example.record_id, passages, rng)
        messages = messages_for(example.prompt, shown)
        rendered.append(render(tokenizer, messages, example.response, recipe.max_length))
    rng.shuffle(rendered)
    chunk = recipe.batch_size * 16
    batches = []
    for start in range(0, len(rendered), chunk):
        similar = sorted(rendered[start : start + chunk], key=lambda one: len(one.ids))
        batches += [
            similar[at : at + recipe.batch_size] for at in range(0, len(similar), recipe.batch_size)
        ]
    rng.shuffle(batches)
    return batches


def steps_per_epoch(recipe: Recipe, example_count: int) -> int:
    """Optimiser steps of one epoch; equals the number of batches that `epoch_batches` makes."""
    chunk = recipe.batch_size * 16
    whole, rest = divmod(example_count, chunk)
    return whole * 16 + -(-rest // recipe.batch_size)


def collate(rendered: Sequence[Rendered], padding_id: int) -> Batch:
    """Tensors of one batch."""
    longest = max(len(one.ids) for one in rendered)
    ids = torch.full((len(rendered), longest), padding_id)
    labels = torch.full((len(rendered), longest), IGNORED_LABEL)
    for row, one in enumerate(rendered):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        labels[row, : len(one.ids)] = torch.tensor(one.labels)
    return Batch(ids, labels)


def _context(record_id: str, passages: dict[str, str], rng: random.Random) -> tuple[str, ...]:
    """The record's own passage among others, first in half of the cases, as retrieval would order
    them.
    """
    others = [name for name in passages if name != record_id]
    chosen = [
        record_id,
        *rng.sample(others, k=min(len(others), rng.randint(1, CONTEXT_PASSAGES - 1))),
    ]
    if rng.random() < 0.5:
        rng.shuffle(chosen)
    return tuple(passages[name] for name in chosen)
