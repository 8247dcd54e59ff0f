"""How much memory and time a run needs, before it starts. Rough, and said to be."""

from __future__ import annotations

import os
from dataclasses import dataclass

from modelfactory.models import BaseModel

RUNTIME_BYTES = 450_000_000
"""Measured: a Python process with torch, transformers and peft imported."""

# fp32 numbers kept per token and layer for the backward pass, in multiples of the hidden size:
# inputs of every linear layer and its LoRA branch, attention, norms (Korthikanti et al. 2022).
ACTIVATION_FACTOR = 34
LOGIT_COPIES = 3  # logits, their softmax and its gradient
BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class Fit:
    """Whether a run fits the memory that is free now. `verdict`: fits, tight or too_large."""

    verdict: str
    needed_bytes: int
    free_bytes: int

    @property
    def needed_megabytes(self) -> int:
        return round(self.needed_bytes / 1e6)

    @property
    def free_megabytes(self) -> int:
        return round(self.free_bytes / 1e6)


def needed_bytes(
    base: BaseModel, *, batch_size: int, max_length: int, rank: int, gradients: int = 1
) -> int:
    """Peak memory of a LoRA run in fp32: runtime + weights + adapter with Adam + activations.

    `gradients` of the adapter are held at once: one, or those of single rows.
    """
    tokens = batch_size * max_length
    # Rank-r pairs on the seven linear layers of a block, each about (hidden + 2·hidden) wide.
    adapter = base.layer_count * 7 * rank * 3 * base.hidden_size
    activations = tokens * base.layer_count * base.hidden_size * ACTIVATION_FACTOR
    logits = tokens * base.vocabulary_size * LOGIT_COPIES
    numbers = base.parameter_count + (3 + gradients) * adapter + activations + logits
    return RUNTIME_BYTES + numbers * BYTES_PER_NUMBER


def free_bytes() -> int:
    """Memory that a new process could use on this machine, as the kernel estimates it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fit_of(
    base: BaseModel, *, batch_size: int, max_length: int, rank: int, gradients: int = 1
) -> Fit:
    """The fit badge of one base with the given settings."""
    needed = needed_bytes(
        base, batch_size=batch_size, max_length=max_length, rank=rank, gradients=gradients
    )
    free = free_bytes()
    verdict = "fits" if needed < 0.6 * free else "tight" if needed < 0.9 * free else "too_large"
    return Fit(verdict, needed, free)
