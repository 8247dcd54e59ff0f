"""Secrets made once per machine, so that a fresh clone runs without any set-up."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def local_secret(folder: Path, name: str) -> str:
    """Return the secret called `name`, making it on first use (mode 0600, created atomically)."""
    path = folder / "secrets" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f"{name}.{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(48))
        try:
            os.link(temporary, path)  # fails if another process was first: then its secret counts
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text()
