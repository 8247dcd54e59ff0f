"""The next token of one row: greedy, or temperature and nucleus sampling (Holtzman et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor


def make_generator(seed: int | None) -> torch.Generator:
    """A generator of its own for each request, so that a neighbour's draws change nothing."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**63)
    return generator


def next_token(
    logits: Tensor, *, temperature: float, top_p: float, generator: torch.Generator
) -> int | None:
    """A token id drawn from ``logits`` [vocabulary]; None when they are not finite.

    ``temperature`` 0 takes the largest. With ``top_p`` below 1 only the smallest set of most likely
    tokens whose probability reaches it is drawn from; the most likely one always stays.
    """
    if not bool(torch.isfinite(logits).all()):
        return None
    if temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        outside = ordered.cumsum(dim=-1) - ordered >= top_p
        ordered[outside] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter_(0, order, ordered)
    return int(torch.multinomial(probabilities, 1, generator=generator))
