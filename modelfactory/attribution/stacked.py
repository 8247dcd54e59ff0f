"""Many adapters over one base in one forward pass: what each of them thinks of one answer.

Row m of the batch runs under adapter m: ``W x_m + s (B_m A_m) x_m`` with all A and B of a layer
stacked, two batched products a layer. The adapters are those of a calibration: same recipe, same
modules, same rank.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from modelfactory.attribution.gradients import PEFT_PREFIX, TokenExample, response_losses
from modelfactory.training.adapter import CONFIG, WEIGHTS


@dataclass(frozen=True)
class _Layer:
    down: Tensor
    """[adapters, in, rank]"""
    up: Tensor
    """[adapters, rank, out], scaled by alpha / rank."""


class StackedAdapters:
    """Adapters of one shape in memory. Raises ``ValueError`` where their shapes differ."""

    def __init__(self, folders: Sequence[Path]) -> None:
        weights = [load_file(folder / WEIGHTS) for folder in folders]
        config = json.loads((folders[0] / CONFIG).read_text(encoding="utf-8"))
        scale = config["lora_alpha"] / config["r"]
        names = [key.removesuffix(".lora_A.weight") for key in weights[0] if ".lora_A." in key]
        try:
            self._layers = {
                name.removeprefix(PEFT_PREFIX): _Layer(
                    torch.stack([one[f"{name}.lora_A.weight"].T for one in weights]).float(),
                    torch.stack([one[f"{name}.lora_B.weight"].T for one in weights]).float()
                    * scale,
                )
                for name in names
            }
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the adapters are not of one shape: {error}") from error
        self.count = len(folders)

    @contextmanager
    def _on(self, base: nn.Module) -> Iterator[None]:
        """``base`` with adapter m applied to row m of every batch of ``count`` rows."""
        modules = dict(base.named_modules())
        handles = []
        for name, layer in self._layers.items():

            def add(
                module: nn.Module, inputs: tuple[Any, ...], output: Tensor, layer: _Layer = layer
            ) -> Tensor:
                return output + torch.bmm(torch.bmm(inputs[0], layer.down), layer.up)

            handles.append(modules[name].register_forward_hook(add))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def log_probabilities(self, base: nn.Module, answer: TokenExample) -> npt.NDArray[np.float64]:
        """Log-probability (nats, whole response) of ``answer`` under each adapter [count].

        ``base`` is the bare model, without an adapter of its own.
        """
        with torch.inference_mode(), self._on(base):
            losses = response_losses(base, [answer] * self.count)[1]
        return -losses.double().cpu().numpy()
