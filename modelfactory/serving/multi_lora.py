"""Different LoRA adapters for different rows of one batch, with two dense products per layer.

The A matrices of the U active adapters are stacked to ``[in, ΣR]`` and the B matrices to
``[ΣR, out]``. One product shrinks every row by every adapter, a block mask keeps only the columns
of the row's own adapter, one product expands. No weights are copied per token (as gathered batched
products do), and there is no loop over adapters (as in PEFT). The waste grows with U, so the
scheduler limits the adapters of one step. Rows on the base match no column and get exactly zero.

It hangs on forward hooks, so it works on ``nn.Linear`` and on GPT-2's ``Conv1D`` alike and the
model's modules keep their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from modelfactory.serving.adapter_loader import LoadedAdapter

BASE_ROW = -1


def adaptable_modules(model: Any) -> dict[str, nn.Module]:
    """{name: layer} of every linear layer an adapter may change: all but the output embedding."""
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }


def module_shape(module: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer."""
    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    raise TypeError(f"{type(module).__name__} is not a linear layer")


class _Rows:
    """Which active adapter each batch row uses in the step that is running."""

    def __init__(self) -> None:
        self.numbers: Tensor | None = None
        self._masks: dict[tuple[int, ...], Tensor] = {}

    def set(self, numbers: Sequence[int]) -> None:
        wanted = any(number != BASE_ROW for number in numbers)
        self.numbers = torch.tensor(numbers) if wanted else None
        self._masks.clear()

    def foreign(self, ranks: tuple[int, ...]) -> Tensor:
        """[rows, Σ ranks]: True where a column belongs to another adapter than the row's."""
        if ranks not in self._masks:
            assert self.numbers is not None  # noqa: S101 - only asked for adapted batches
            owners = torch.repeat_interleave(torch.arange(len(ranks)), torch.tensor(ranks))
            self._masks[ranks] = self.numbers[:, None] != owners[None, :]
        return self._masks[ranks]


class MultiLoRALinear:
    """The forward hook of one linear layer."""

    def __init__(self, name: str, rows: _Rows) -> None:
        self._name = name
        self._rows = rows
        self._ranks: tuple[int, ...] = ()
        self._down = torch.empty(0)
        self._up = torch.empty(0)

    def activate(self, adapters: Sequence[LoadedAdapter]) -> None:
        """Stack the matrices of ``adapters``; one that leaves this layer alone has rank 0 here."""
        pairs = [adapter.layers.get(self._name) for adapter in adapters]
        self._ranks = tuple(0 if pair is None else pair[0].shape[0] for pair in pairs)
        present = [pair for pair in pairs if pair is not None]
        if present:
            self._down = torch.cat([down for down, _ in present]).t().contiguous()
            self._up = torch.cat([up for _, up in present], dim=1).t().contiguous()

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self._rows.numbers is None or not any(self._ranks):
            return output
        given = inputs[0]
        foreign = self._rows.foreign(self._ranks)
        shrunk = given.reshape(-1, given.shape[-1]) @ self._down
        per_row = shrunk.view(foreign.shape[0], -1, shrunk.shape[-1])
        # Filled, not multiplied: a foreign adapter's infinity times zero would be NaN.
        per_row.masked_fill_(foreign[:, None, :], 0.0)
        added = torch.addmm(output.reshape(-1, output.shape[-1]), shrunk, self._up)
        return added.view_as(output)


class MultiLoRA:
    """All hooks of one model. Use ``activate`` when the active adapters change, then ``rows``."""

    def __init__(self, model: Any) -> None:
        self._rows = _Rows()
        self._active: tuple[str, ...] = ()
        self._layers: list[MultiLoRALinear] = []
        self._handles: list[RemovableHandle] = []
        self.shapes: dict[str, tuple[int, int]] = {}
        for name, module in adaptable_modules(model).items():
            layer = MultiLoRALinear(name, self._rows)
            self._layers.append(layer)
            self._handles.append(module.register_forward_hook(layer))
            self.shapes[name] = module_shape(module)

    def activate(self, adapters: Mapping[str, LoadedAdapter]) -> None:
        """Make exactly these adapters usable; stacks are rebuilt only when the set changes."""
        digests = tuple(sorted(adapters))
        if digests == self._active:
            return
        ordered = [adapters[digest] for digest in digests]
        for layer in self._layers:
            layer.activate(ordered)
        self._active = digests

    def rows(self, digests: Sequence[str | None]) -> None:
        """Say which adapter each row of the next forward uses; None is the base.

        Raises ``KeyError`` for one that is not active, so that no row ever runs on other weights.
        """
        numbers = {digest: number for number, digest in enumerate(self._active)}
        self._rows.set([BASE_ROW if digest is None else numbers[digest] for digest in digests])

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
