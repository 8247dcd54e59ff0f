"""The Kronecker factors of a model's LoRA matrices, for ``curvature.py``. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from modelfactory.attribution.curvature import Factors
from modelfactory.attribution.gradients import (
    TokenExample,
    lora_modules,
    recording,
    response_losses,
)

DOWN, UP = "A", "B"


def kronecker_factors(
    model: nn.Module,
    examples: Sequence[TokenExample],
    *,
    batch_size: int = 16,
    adapter: str = "default",
) -> dict[tuple[str, str], Factors]:
    """Sums over all tokens of ``x xᵀ`` and ``δ δᵀ`` of each matrix: {(module, "A" or "B"): …}.

    ``x`` goes into the matrix, ``δ`` is the slope of the mean response loss by what comes out: the
    empirical Fisher's factors. A padded token has no slope, and its input is left out.
    """
    modules = lora_modules(model, adapter)
    layers = {
        (m.name, name): layer for m in modules for name, layer in ((DOWN, m.down), (UP, m.up))
    }
    found: dict[tuple[str, str], list[Tensor]] = {}
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        lengths = torch.tensor([len(one.prompt_ids) + len(one.response_ids) for one in batch])
        with recording(model, modules) as tape:
            means, _ = response_losses(model, batch)
            outputs = [tape.outputs[layer] for layer in layers.values()]
            slopes = torch.autograd.grad(means.sum(), outputs)
        for (key, layer), slope in zip(layers.items(), slopes, strict=True):
            given = tape.inputs[layer].double()
            real = (torch.arange(given.shape[1])[None] < lengths[:, None]).to(given.device)
            x, delta = given[real], slope.double()[real]
            sums = found.setdefault(key, [torch.zeros((), dtype=torch.float64)] * 2)
            sums[0], sums[1] = sums[0] + (x.T @ x).cpu(), sums[1] + (delta.T @ delta).cpu()
    return {
        key: Factors(np.asarray(inputs.numpy()), np.asarray(slopes.numpy()))
        for key, (inputs, slopes) in found.items()
    }
