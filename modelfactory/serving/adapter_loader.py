"""Read a LoRA adapter from safetensors by ourselves, with every check before any use.

PEFT's own loading edits the shared model for hundreds of milliseconds; copying the tensors takes
a few, and the model that other requests are running on is not touched.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from modelfactory.serving.adapter_files import (
    MAXIMUM_RANK,
    WEIGHTS_FILE,
    AdapterConfig,
    adapter_digest,
    read_config,
)
from modelfactory.serving.engine import AdapterInvalidError, AdapterMissingError, check_digest

# Finite but huge weights would overflow in the forward pass.
MAXIMUM_WEIGHT = 1e4
_TENSOR = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_(?P<side>[AB])\.weight")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter in memory: {module: (A [rank, in], s·B [out, rank])} in float32."""

    digest: str
    layers: Mapping[str, tuple[Tensor, Tensor]]
    size_bytes: int
    rank: int
    load_seconds: float


def weights_bytes(root: Path, digest: str) -> int:
    """Size of the weights file. Raises ``AdapterMissingError`` when there is none."""
    try:
        return (root / check_digest(digest) / WEIGHTS_FILE).stat().st_size
    except OSError as error:
        raise AdapterMissingError(f"adapter {digest[:12]} is not here") from error


def load_adapter(
    root: Path, digest: str, shapes: Mapping[str, tuple[int, int]], maximum_bytes: int
) -> LoadedAdapter:
    """Load ``root/digest`` for a base whose adaptable modules have ``shapes`` {name: (in, out)}.

    Raises ``AdapterMissingError``, or ``AdapterInvalidError`` when the digest is not that of the
    files, the format is not plain LoRA, or a tensor does not fit the base, is too large for
    ``maximum_bytes`` in float32, or is not finite.
    """
    started = time.monotonic()
    size = weights_bytes(root, digest)
    if size > maximum_bytes:
        raise AdapterInvalidError(f"the adapter has {size} bytes; the limit is {maximum_bytes}")
    folder = root / digest
    if adapter_digest(folder) != digest:
        raise AdapterInvalidError(f"the files of adapter {digest[:12]} have another digest")
    config = read_config(folder)
    try:
        tensors = _read_tensors(folder / WEIGHTS_FILE)
    except (SafetensorError, OSError) as error:
        raise AdapterInvalidError(f"{WEIGHTS_FILE} cannot be read: {error}") from error
    layers = {
        module: _checked_pair(module, tensors, shapes, config)
        for module in sorted({module for module, _ in tensors})
    }
    if not layers:
        raise AdapterInvalidError("the adapter has no LoRA weights")
    total = sum(part.numel() * part.element_size() for pair in layers.values() for part in pair)
    if total > maximum_bytes:
        raise AdapterInvalidError(f"the adapter needs {total} bytes; the limit is {maximum_bytes}")
    rank = max(down.shape[0] for down, _ in layers.values())
    return LoadedAdapter(digest, layers, total, rank, time.monotonic() - started)


def _read_tensors(path: Path) -> dict[tuple[str, str], Tensor]:
    tensors = {}
    with safe_open(path, framework="pt") as stream:
        for name in stream.keys():  # noqa: SIM118 - not a mapping
            match = _TENSOR.fullmatch(name)
            if match is None:
                raise AdapterInvalidError(f"tensor {name[:200]} is not a plain LoRA weight")
            if len(stream.get_slice(name).get_shape()) != 2:
                raise AdapterInvalidError(f"tensor {name[:200]} is not a matrix")
            tensors[match["module"], match["side"]] = stream.get_tensor(name)
    return tensors


def _checked_pair(
    module: str,
    tensors: Mapping[tuple[str, str], Tensor],
    shapes: Mapping[str, tuple[int, int]],
    config: AdapterConfig,
) -> tuple[Tensor, Tensor]:
    if module not in shapes:
        raise AdapterInvalidError(f"the base has no adaptable module {module}")
    down, up = tensors.get((module, "A")), tensors.get((module, "B"))
    if down is None or up is None:
        raise AdapterInvalidError(f"{module} has only one of lora_A and lora_B")
    size_in, size_out = shapes[module]
    rank = down.shape[0]
    if (
        down.shape != (rank, size_in)
        or up.shape != (size_out, rank)
        or not 0 < rank <= MAXIMUM_RANK
    ):
        raise AdapterInvalidError(
            f"{module}: A {tuple(down.shape)} and B {tuple(up.shape)} do not fit "
            f"{size_in} inputs and {size_out} outputs"
        )
    for part in (down, up):
        # NaN fails the comparison too.
        if part.dtype not in _DTYPES or not bool((part.abs() <= MAXIMUM_WEIGHT).all()):
            raise AdapterInvalidError(f"{module}: a weight is not a finite number of usual size")
    # .clone(): the file is memory-mapped, and a resident adapter must not depend on the file.
    scaled = up.float() * config.scale(module, rank)
    return down.float().clone(), scaled
