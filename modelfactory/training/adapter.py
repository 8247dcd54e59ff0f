"""The adapter folder in PEFT's format and its identity. Imports no torch: any process may check a
digest.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapter_digest(folder: Path) -> str:
    """sha256 (hexadecimal) over the canonical configuration, a zero byte and the weights file."""
    digest = hashlib.sha256(canonical_config(json.loads((folder / CONFIG).read_text())).encode())
    digest.update(b"\0")
    with (folder / WEIGHTS).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_config(config: dict[str, Any]) -> str:
    """The configuration as JSON in one spelling: keys sorted, lists of names sorted, only the
    base's last name.

    PEFT writes `target_modules` in set order and the base as the path it was loaded from, which
    differ between two runs and two machines that made the same adapter.
    """
    fields = dict(config)
    base = fields.get("base_model_name_or_path")
    if isinstance(base, str) and Path(base).is_absolute():
        fields["base_model_name_or_path"] = Path(base).name
    for name, value in fields.items():
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            fields[name] = sorted(value)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
