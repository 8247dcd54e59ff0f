"""What an adapter folder may contain, and the digest that names it. Torch-free.

A folder holds ``adapter_config.json`` and ``adapter_model.safetensors`` in PEFT's format.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfactory.serving.engine import AdapterInvalidError
from modelfactory.training.adapter import CONFIG, WEIGHTS
from modelfactory.training.adapter import adapter_digest as trained_adapter_digest

CONFIG_FILE, WEIGHTS_FILE = CONFIG, WEIGHTS
MAXIMUM_CONFIG_BYTES = 1_000_000
MAXIMUM_RANK = 256

_PLAIN_PATTERN = re.compile(r"[\w.]+")
_UNSUPPORTED = ("use_dora", "modules_to_save", "layer_replication", "lora_bias", "use_bdlora",
                "use_qalora", "alora_invocation_tokens", "arrow_config", "target_parameters",
                "trainable_token_indices", "velora_config", "kasa_config",
                "monteclora_config")  # fmt: skip
# Other ways to initialise change the base weights, and the adapter is right only on those.
_PLAIN_INITIALISATIONS = (True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class AdapterConfig:
    """The settings of a plain LoRA adapter that matter at run time."""

    rank: int
    alpha: float
    rank_stabilised: bool
    alpha_pattern: dict[str, float]

    def scale(self, module: str, rank: int) -> float:
        """``s`` of ``W₀ + s·B A`` for one module; rsLoRA divides by √r instead of r."""
        alpha = self.alpha
        for suffix, value in self.alpha_pattern.items():
            if module == suffix or module.endswith(f".{suffix}"):
                alpha = value
                break
        return float(alpha / (rank**0.5 if self.rank_stabilised else rank))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        if path.stat().st_size > MAXIMUM_CONFIG_BYTES:
            raise AdapterInvalidError(f"{CONFIG_FILE} is larger than {MAXIMUM_CONFIG_BYTES} bytes")
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterInvalidError(f"{CONFIG_FILE} cannot be read") from error
    if not isinstance(config, dict):
        raise AdapterInvalidError(f"{CONFIG_FILE} is not an object")
    return config


def read_config(folder: Path) -> AdapterConfig:
    """The checked config of an adapter folder. Raises ``AdapterInvalidError`` with the reason."""
    config = _read_config(folder)
    if config.get("peft_type") != "LORA":
        raise AdapterInvalidError(f"only LoRA adapters are served, not {config.get('peft_type')}")
    used = [name for name in _UNSUPPORTED if config.get(name)]
    if config.get("bias", "none") != "none":
        used.append("bias")
    if config.get("init_lora_weights", True) not in _PLAIN_INITIALISATIONS:
        used.append("init_lora_weights")
    if used:
        raise AdapterInvalidError(f"not supported in an adapter: {', '.join(used)}")
    rank, alpha, pattern = config.get("r"), config.get("lora_alpha"), config.get("alpha_pattern")
    pattern = pattern or {}
    alphas = [alpha, *pattern.values()]
    if type(rank) is not int or not 0 < rank <= MAXIMUM_RANK:
        raise AdapterInvalidError(f"the rank is not between 1 and {MAXIMUM_RANK}")
    if not all(isinstance(value, int | float) and 0 < value < 1e6 for value in alphas):
        raise AdapterInvalidError("an alpha is not a positive number")
    # A pattern is a regular expression in PEFT; a stranger's expression is not run here.
    if not all(_PLAIN_PATTERN.fullmatch(key) for key in pattern):
        raise AdapterInvalidError("an alpha pattern is not a plain module name")
    return AdapterConfig(rank, float(alpha or 0), bool(config.get("use_rslora")), dict(pattern))


def adapter_digest(folder: Path) -> str:
    """The adapter's identity, as ``training.adapter`` defines it.

    Raises ``AdapterInvalidError`` when a file is missing or the config cannot be read.
    """
    _read_config(folder)
    try:
        return trained_adapter_digest(folder)
    except (OSError, ValueError) as error:
        raise AdapterInvalidError(f"{WEIGHTS_FILE} cannot be read") from error
