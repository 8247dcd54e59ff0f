"""Per-record gradients of every LoRA matrix for a whole batch in one backward pass.

For ``W = W₀ + s·B A`` record i's gradients are sums over its tokens t (DataInf, Kwon et al. 2024)::

    g_A = Σ_t (∂L/∂(A x_t)) x_tᵀ   [r, in]        g_B = Σ_t (∂L/∂(B h_t)) h_tᵀ   [out, r]

so the inputs and the output gradients of ``lora_A`` and ``lora_B`` are all that is needed: hooks
take the inputs, ``autograd.grad`` the output gradients, and no record is run alone. Batches are
padded on the right; with causal attention a padded token influences no response token, so its
output gradient is exactly zero. Attention runs in the math kernel, because the fused kernels give
different per-record gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

PEFT_PREFIX = "base_model.model."
IGNORED = -100
BATCH = 32
LOSS = "mean_response_token_cross_entropy"


@dataclass(frozen=True)
class TokenExample:
    """A prompt and the response whose tokens carry the loss."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.prompt_ids or not self.response_ids:
            raise ValueError("an example needs prompt tokens and response tokens")


@dataclass(frozen=True)
class LoraModule:
    """One adapted layer; ``name`` is its path in the base model."""

    name: str
    down: nn.Linear
    up: nn.Linear

    @property
    def size(self) -> int:
        return self.down.weight.numel() + self.up.weight.numel()

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """[out, in] of both matrices, A first."""
        down, up = self.down, self.up
        return (down.out_features, down.in_features), (up.out_features, up.in_features)


@dataclass(frozen=True)
class RecordGradients:
    """``modules``: {name: [n, size]} float32, A flattened before B; log-probabilities [n], nats."""

    modules: dict[str, Tensor]
    log_probabilities: Tensor


def lora_modules(model: nn.Module, adapter: str = "default") -> tuple[LoraModule, ...]:
    """The linear LoRA layers of a peft model in name order. Raises ``ValueError`` for none."""
    found = []
    for path, module in model.named_modules():
        down, up = getattr(module, "lora_A", None), getattr(module, "lora_B", None)
        if isinstance(down, nn.ModuleDict) and isinstance(up, nn.ModuleDict) and adapter in down:
            down_layer, up_layer = down[adapter], up[adapter]
            if isinstance(down_layer, nn.Linear) and isinstance(up_layer, nn.Linear):
                found.append(LoraModule(path.removeprefix(PEFT_PREFIX), down_layer, up_layer))
    if not found:
        raise ValueError(f"the model has no linear LoRA layers named {adapter}")
    return tuple(sorted(found, key=lambda module: module.name))


class _Tape:
    """Inputs and outputs of each hooked layer of one forward pass."""

    def __init__(self) -> None:
        self.inputs: dict[nn.Module, Tensor] = {}
        self.outputs: dict[nn.Module, Tensor] = {}

    def record(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if not output.requires_grad:  # frozen weights on frozen inputs: start the graph here
            output = output.detach().requires_grad_()
        self.inputs[layer] = inputs[0].detach()
        self.outputs[layer] = output
        return output


@contextmanager
def recording(model: nn.Module, modules: Sequence[LoraModule]) -> Iterator[_Tape]:
    tape, was_training = _Tape(), model.training
    layers = [layer for module in modules for layer in (module.down, module.up)]
    handles = [layer.register_forward_hook(tape.record) for layer in layers]
    model.eval()
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield tape
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)


def pad_right(examples: Sequence[TokenExample], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and labels, both [n, longest]; labels are ``IGNORED`` off the responses."""
    longest = max(len(item.prompt_ids) + len(item.response_ids) for item in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for row, item in enumerate(examples):
        prompt, end = len(item.prompt_ids), len(item.prompt_ids) + len(item.response_ids)
        ids[row, :end] = torch.tensor(item.prompt_ids + item.response_ids)
        labels[row, prompt:end] = ids[row, prompt:end]
    return ids.to(device), labels.to(device)


def response_losses(model: nn.Module, examples: Sequence[TokenExample]) -> tuple[Tensor, Tensor]:
    """Mean and summed cross-entropy of each example's response tokens, both [n], nats."""
    device = next(model.parameters()).device
    ids, labels = pad_right(examples, device)
    targets = labels[:, 1:]
    # Most of a batch are prompts, and the logits are what costs most where a vocabulary is large.
    kept = (targets != IGNORED).any(0).nonzero().squeeze(1)
    targets = targets[:, kept]
    logits: Tensor = logits_at(model, ids, kept).float()
    losses = cross_entropy(
        logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    ).sum(dim=1)
    return losses / (targets != IGNORED).sum(dim=1), losses


def log_probabilities(
    model: nn.Module, answers: Sequence[TokenExample], batch_size: int = BATCH
) -> npt.NDArray[np.float64]:
    """Log-probability (nats, whole response) of each answer [n] under ``model``."""
    found = np.zeros(len(answers))
    order = sorted(range(len(answers)), key=lambda at: len(answers[at].prompt_ids))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            losses = response_losses(model, [answers[at] for at in chosen])[1]
            found[chosen] = -losses.double().cpu().numpy()
    return found


def logits_at(model: nn.Module, ids: Tensor, positions: Tensor) -> Tensor:
    """[n, positions, vocabulary]: the logits there; no others are computed if the model allows."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if "logits_to_keep" in signature(base.forward).parameters:
        chosen: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=positions).logits
        return chosen
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[:, positions]


def record_gradients(
    model: nn.Module, examples: Sequence[TokenExample], adapter: str = "default"
) -> RecordGradients:
    """Gradients of each example's mean response loss by every LoRA matrix; one backward.

    The adapter must be the active one of the peft ``model``; no parameter's ``grad`` is touched.
    """
    modules = lora_modules(model, adapter)
    layers: list[nn.Module] = [layer for m in modules for layer in (m.down, m.up)]
    with recording(model, modules) as tape:
        means, sums = response_losses(model, examples)
        outputs = [tape.outputs[layer] for layer in layers]
        slopes = dict(zip(layers, torch.autograd.grad(means.sum(), outputs), strict=True))

    def weight_gradient(layer: nn.Module) -> Tensor:
        slope, given = slopes[layer].float(), tape.inputs[layer].float()
        return torch.einsum("nto,nti->noi", slope, given).flatten(1)

    gradients = {
        module.name: torch.cat([weight_gradient(module.down), weight_gradient(module.up)], dim=1)
        for module in modules
    }
    return RecordGradients(gradients, -sums.detach())


def batched(
    model: nn.Module,
    examples: Sequence[TokenExample],
    *,
    batch_size: int,
    adapter: str = "default",
    on_batch: Callable[[int], None] = lambda done: None,
) -> Iterator[RecordGradients]:
    """``record_gradients`` of consecutive batches, in the order given."""
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        yield record_gradients(model, batch, adapter)
        on_batch(start + len(batch))
