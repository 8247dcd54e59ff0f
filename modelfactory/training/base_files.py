"""The files of a base model and their digest. Imports no torch: the site names bases by it too."""

from __future__ import annotations

import hashlib
from pathlib import Path

SHIPPED_BASE = Path(__file__).resolve().parents[1] / "base_models" / "openledger-base"


def base_files(folder: Path) -> list[Path]:
    """The files that make the model, in name order.

    Hidden files and documents (`.md`) are none: a card says more one day, the model stays the same.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix != ".md"
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def base_digest(folder: Path) -> str:
    """sha256 over name, size and content of each of `base_files`."""
    digest = hashlib.sha256()
    for path in base_files(folder):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
