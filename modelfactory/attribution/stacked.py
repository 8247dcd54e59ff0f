"""Many adapters over one base in one forward pass: what each of them thinks of one answer.

Row m of the batch runs under adapter m: ``W x_m + s (B_m A_m) x_m`` with all A and B of a layer
stacked, two batched products a layer. The adapters are those of one run or of its retrainings:
same recipe, same modules, same rank.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from modelfactory.attribution.gradients import (
    PEFT_PREFIX,
    RecordGradients,
    TokenExample,
    response_losses,
)
from modelfactory.training.adapter import CONFIG, WEIGHTS


@dataclass(frozen=True)
class _Layer:
    down: Tensor
    """[adapters, in, rank]"""
    up: Tensor
    """[adapters, rank, out]"""


@dataclass(frozen=True)
class _Steps:
    """What went through one adapted layer [adapters, tokens, …]."""

    given: Tensor
    narrow: Tensor
    raised: Tensor


Pass = Callable[[str, _Layer, Tensor], Tensor]


class StackedAdapters:
    """Adapters of one shape in memory. Raises ``ValueError`` where their shapes differ."""

    def __init__(self, folders: Sequence[Path]) -> None:
        weights = [load_file(folder / WEIGHTS) for folder in folders]
        config = json.loads((folders[0] / CONFIG).read_text(encoding="utf-8"))
        self._scale: float = config["lora_alpha"] / config["r"]
        names = [key.removesuffix(".lora_A.weight") for key in weights[0] if ".lora_A." in key]
        try:
            self._layers = {
                name.removeprefix(PEFT_PREFIX): _Layer(
                    torch.stack([one[f"{name}.lora_A.weight"].T for one in weights]).float(),
                    torch.stack([one[f"{name}.lora_B.weight"].T for one in weights]).float(),
                )
                for name in names
            }
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the adapters are not of one shape: {error}") from error
        self.count = len(folders)

    @contextmanager
    def _on(self, base: nn.Module, through: Pass) -> Iterator[None]:
        """``base`` with adapter m applied to row m of every batch of ``count`` rows."""
        handles = []
        for name, layer in self._layers.items():

            def add(
                module: nn.Module,
                inputs: tuple[Any, ...],
                output: Tensor,
                name: str = name,
                layer: _Layer = layer,
            ) -> Tensor:
                return output + through(name, layer, inputs[0]) * self._scale

            handles.append(base.get_submodule(name).register_forward_hook(add))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def alone(self, base: nn.Module, number: int = 0) -> Iterator[None]:
        """``base`` under one of the adapters, for batches of any size."""

        def through(name: str, layer: _Layer, given: Tensor) -> Tensor:
            return given @ layer.down[number] @ layer.up[number]

        with self._on(base, through):
            yield

    def log_probabilities(self, base: nn.Module, answer: TokenExample) -> npt.NDArray[np.float64]:
        """Log-probability (nats, whole response) of ``answer`` under each adapter [count].

        ``base`` is the bare model, without an adapter of its own.
        """

        def through(name: str, layer: _Layer, given: Tensor) -> Tensor:
            return torch.bmm(torch.bmm(given, layer.down), layer.up)

        with torch.inference_mode(), self._on(base, through):
            losses = response_losses(base, [answer] * self.count)[1]
        return -losses.double().cpu().numpy()

    def gradients(self, base: nn.Module, answer: TokenExample) -> RecordGradients:
        """``gradients.record_gradients`` of ``answer`` under each adapter, in one backward.

        Row m of every module is the gradient by adapter m's matrices.
        """
        steps: dict[str, _Steps] = {}

        def through(name: str, layer: _Layer, given: Tensor) -> Tensor:
            narrow = torch.bmm(given, layer.down)
            if not narrow.requires_grad:  # frozen weights on frozen inputs: start the graph here
                narrow = narrow.requires_grad_()
            raised = torch.bmm(narrow, layer.up)
            steps[name] = _Steps(given.detach(), narrow, raised)
            return raised

        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), self._on(base, through):
            means, sums = response_losses(base, [answer] * self.count)
            names = sorted(steps)
            outputs = [
                tensor for name in names for tensor in (steps[name].narrow, steps[name].raised)
            ]
            slopes = torch.autograd.grad(means.sum(), outputs)
        found = {}
        for at, name in enumerate(names):
            down = torch.bmm(slopes[2 * at].mT, steps[name].given)
            up = torch.bmm(slopes[2 * at + 1].mT, steps[name].narrow.detach())
            found[name] = torch.cat([down.flatten(1), up.flatten(1)], dim=1)
        return RecordGradients(found, -sums.detach())
