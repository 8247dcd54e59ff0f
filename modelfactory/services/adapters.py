"""Where finished adapters live: one folder each, named by the SHA-256 of weights and config."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from django.conf import settings

from modelfactory.training.adapter import adapter_digest


def adapter_folder(digest: str) -> Path:
    return Path(settings.ADAPTERS_DIR) / digest


def keep_adapter(source: Path, digest: str) -> Path:
    """Copy an adapter to its place: temp name, fsync, rename. Doing it again changes nothing."""
    place = adapter_folder(digest)
    if place.is_dir():
        return place
    temporary = place.with_name(f".{digest}.{secrets.token_hex(8)}")
    try:
        shutil.copytree(source, temporary)
        for path in [*temporary.rglob("*"), temporary]:
            _fsync(path)
        temporary.rename(place)
    except OSError:
        if not place.is_dir():  # otherwise another worker put the same bytes there first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def keep_trail(run_folder: Path) -> list[str]:
    """Keep the adapters that training left behind on its way, and return their digests in order.

    A run of very few steps leaves none.
    """
    found = sorted((run_folder / "trail").glob("third-*"))
    digests = [adapter_digest(folder) for folder in found]
    for folder, digest in zip(found, digests, strict=True):
        keep_adapter(folder, digest)
    return digests


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
