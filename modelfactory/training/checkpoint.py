"""Checkpoints that are complete or do not count: files are synced, the manifest is written last,
then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

MANIFEST = "manifest.json"
_STEP_FOLDER = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` optimiser steps: named tensors by file, and plain values."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write `folder/step-N`, keeping the newest `keep`. A kill at any moment leaves the older ones
    usable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft, final = folder / f"tmp-{checkpoint.step}", folder / f"step-{checkpoint.step}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for name, tensors in checkpoint.tensors.items():
        # Storage shared between tensors is refused by safetensors, so each is copied.
        save_file(
            {key: value.detach().clone().contiguous() for key, value in tensors.items()},
            draft / name,
        )
    (draft / "values.json").write_text(json.dumps(checkpoint.values, sort_keys=True))
    digests = {path.name: _sync_and_digest(path) for path in sorted(draft.iterdir())}
    write_atomically(draft / MANIFEST, json.dumps({"step": checkpoint.step, "sha256": digests}))
    _sync_folder(draft)
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    _sync_folder(folder)
    for step, old in _step_folders(folder)[keep:]:
        if step != checkpoint.step:
            shutil.rmtree(old, ignore_errors=True)
    return final


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint whose files match their digests; damaged ones are skipped."""
    for step, path in _step_folders(folder):
        try:
            return _load(step, path)
        except (OSError, ValueError, KeyError, SafetensorError):
            continue
    return None


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a restart after a crash, sees the old text or the new,
    never a part.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _load(step: int, path: Path) -> Checkpoint:
    manifest = json.loads((path / MANIFEST).read_text())
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256((path / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{path.name}/{name} is damaged")
    tensors = {
        name: load_file(path / name) for name in manifest["sha256"] if name.endswith(".safetensors")
    }
    return Checkpoint(step, tensors, json.loads((path / "values.json").read_text()))


def _step_folders(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder), newest first."""
    if not folder.is_dir():
        return []
    matches = ((_STEP_FOLDER.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _sync_and_digest(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
