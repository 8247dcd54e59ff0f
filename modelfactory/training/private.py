"""Differentially private steps of fine-tuning (DP-SGD, Abadi et al. 2016).

The unit is a *record* with all its wordings. A step takes each record with probability
`sampling_rate` on its own (Poisson sampling: the accountant's proof needs exactly this). A record's
gradient is the mean over its wordings, of every LoRA matrix together; it is clipped to the length
C, so that no record moves a step by more. Normal noise of `noise_multiplier` times C is added to
the sum, which is divided by the *expected* number of records: the real one would tell how many were
taken. What the optimiser and every later step do with that is post-processing.

Three things follow. Nothing else of the batch may reach a record's gradient: no other record stands
in its prompt, and the model runs as in evaluation, without dropout or statistics of a batch. No
loss is told, for it is a figure of the sampled rows. And chance is the operating system's, new for
every step and written nowhere: whoever knew it could subtract the noise, so it has nothing to do
with the recipe's seed, which is published, and a run that goes on from a checkpoint draws again.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelfactory.attribution.gradients import (
    LoraModule,
    TokenExample,
    lora_modules,
    record_gradients,
)
from modelfactory.training.chat import Rendered, messages_for, record_passage, render
from modelfactory.training.recipe import Example, Privacy, Recipe, RecipeError

Record = tuple[TokenExample, ...]
"""All wordings of one record."""
Gaussian = Callable[[int], Tensor]


@dataclass(frozen=True)
class Wordings:
    """One record's examples as token ids: each alone, and each after the record's own passage."""

    record_id: str
    plain: Record
    in_context: Record


def wordings_of(recipe: Recipe, examples: Sequence[Example], tokenizer: Any) -> list[Wordings]:
    """The examples by record, in the order of their first."""
    by_record: dict[str, list[Example]] = {}
    for example in examples:
        by_record.setdefault(example.record_id, []).append(example)

    def tokens(example: Example, passages: Sequence[str]) -> TokenExample:
        messages = messages_for(example.prompt, passages)
        return _token_example(render(tokenizer, messages, example.response, recipe.max_length))

    found = []
    for record_id, own in by_record.items():
        passage = (record_passage(own[0].prompt, own[0].response),)
        plain = tuple(tokens(example, example.passages) for example in own)
        shown = tuple(tokens(example, example.passages or passage) for example in own)
        found.append(Wordings(record_id, plain, shown))
    return found


def records_at(
    recipe: Recipe, wordings: Sequence[Wordings], step: int, chosen: Sequence[int]
) -> list[Record]:
    """The records `chosen` as `step` reads them: of each wording, `context_fraction` of the times
    with the record's own passage, so that tuning does not unlearn reading.

    Other records must not stand there: a gradient would then hold rows that it is not clipped for.
    """
    found = []
    for number in chosen:
        one = wordings[number]
        rng = random.Random(f"{recipe.seed}:{step}:{one.record_id}")  # noqa: S311 - not secret
        pairs = zip(one.plain, one.in_context, strict=True)
        found.append(
            tuple(
                shown if rng.random() < recipe.context_fraction else plain for plain, shown in pairs
            )
        )
    return found


def sample(count: int, rate: float) -> list[int]:
    """Which of `count` records a step takes: each with probability `rate`, on its own."""
    return np.flatnonzero(_uniform(count) < rate).tolist()


def gaussian(count: int) -> Tensor:
    """[count] float64 standard normal numbers of the operating system's secure generator.

    Each is half the sum of four: the rounding of a single one leaves holes between floats, from
    which the value under the noise could be told (Mironov 2012; Holohan & Braghin 2021).
    """
    half = np.zeros(count)
    for _ in range(2):  # Box and Muller: two numbers from two
        radius = np.sqrt(-2 * np.log1p(-_uniform(count)))
        angle = 2 * math.pi * _uniform(count)
        half += radius * (np.cos(angle) + np.sin(angle))
    return torch.from_numpy(half / 2)


def clipped_sum(
    model: Any, records: Sequence[Record], *, clip_norm: float, batch_size: int
) -> tuple[list[LoraModule], Tensor]:
    """The LoRA layers, and [numbers] the sum of the records' gradients, each clipped to
    `clip_norm`; a layer's A is flattened before its B.

    At most `batch_size` records' gradients and `batch_size` examples' activations are held at once,
    whatever the number of records and of their wordings. A gradient that is no number counts zero.
    """
    modules = list(lora_modules(model))
    total = torch.zeros(sum(module.size for module in modules), device=model.device)
    order = sorted(records, key=_longest)
    for start in range(0, len(order), batch_size):
        rows = _record_rows(model, modules, order[start : start + batch_size], batch_size)
        norms = rows.double().norm(dim=1)
        counts = torch.isfinite(norms)
        factors = clip_norm / norms.clamp(min=clip_norm)
        total += (factors[counts].float()[:, None] * rows[counts]).sum(0)
    return modules, total


def _record_rows(
    model: Any, modules: Sequence[LoraModule], records: Sequence[Record], batch_size: int
) -> Tensor:
    """[records, numbers]: the mean gradient of each record's wordings."""
    sizes = [module.size for module in modules]
    rows = torch.zeros(len(records), sum(sizes), device=model.device)
    pairs = [(owner, item) for owner, record in enumerate(records) for item in record]
    pairs.sort(key=lambda pair: _length(pair[1]))
    for start in range(0, len(pairs), batch_size):
        owners, items = zip(*pairs[start : start + batch_size], strict=True)
        found = record_gradients(model, items).modules
        shares = torch.tensor([1 / len(records[owner]) for owner in owners], device=model.device)
        places = torch.tensor(owners, device=model.device)
        for module, columns in zip(modules, torch.split(rows, sizes, dim=1), strict=True):
            columns.index_add_(0, places, found[module.name] * shares[:, None])
    return rows


def give_private_gradient(
    model: Any,
    records: Sequence[Record],
    privacy: Privacy,
    *,
    batch_size: int,
    noise: Gaussian = gaussian,
) -> None:
    """Put the clipped, noised and averaged gradient of the sampled `records` on the LoRA matrices.

    Raises RecipeError where something else is trained, which nobody would clip.
    """
    modules, total = clipped_sum(model, records, clip_norm=privacy.clip_norm, batch_size=batch_size)
    weights = [layer.weight for module in modules for layer in (module.down, module.up)]
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if trained != {id(weight) for weight in weights}:
        raise RecipeError("a private run can train linear LoRA layers only")
    deviation = privacy.noise_multiplier * privacy.clip_norm
    noised = total.double() + deviation * noise(total.numel()).to(total.device)
    given = (noised / privacy.expected_records).float()
    parts = torch.split(given, [weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)


def _uniform(count: int) -> npt.NDArray[np.float64]:
    """[count] numbers in [0, 1) of 53 random bits each."""
    bits = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _token_example(rendered: Rendered) -> TokenExample:
    split = rendered.prompt_length
    return TokenExample(rendered.ids[:split], rendered.ids[split:])


def _length(item: TokenExample) -> int:
    return len(item.prompt_ids) + len(item.response_ids)


def _longest(record: Record) -> int:
    return max(map(_length, record))
