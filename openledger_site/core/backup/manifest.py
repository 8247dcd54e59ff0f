"""What a backup says of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

NAME = "manifest.json"
FORMAT = 1


class BackupRefused(Exception):
    """Nothing was written; the text says why and what to do."""


@dataclass(frozen=True)
class Manifest:
    made_at: str
    software: str
    server: str
    migrations: list[str]
    data_keys: list[str]  # fingerprints, newest first
    files: dict[str, str]  # path inside the folder: SHA-256, hexadecimal
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)
        (folder / NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises `BackupRefused` where there is none that this release understands."""
        try:
            found = json.loads((folder / NAME).read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise BackupRefused(f"{folder / NAME} is of another format: {found['format']}.")
            return cls(**found)
        except (OSError, ValueError, TypeError, KeyError) as problem:
            raise BackupRefused(f"{folder} is no whole backup: {problem}") from problem


def kept_folders() -> dict[str, Path]:
    """What is copied beside the database, by its name in a backup."""
    return {
        "media": Path(settings.MEDIA_ROOT),
        "chain": Path(settings.CHAIN_ADDRESSES_FILE).parent,
    }


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path) -> list[str]:
    """Every file but the manifest, relative, in order."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(name for path in found if (name := str(path.relative_to(folder))) != NAME)


def applied_migrations() -> list[str]:
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in applied)


def key_fingerprints() -> list[str]:
    """Enough to tell whether a site has the keys of a backup; they open nothing."""
    return [
        hashlib.sha256(b"backup:" + key.encode()).hexdigest()[:16] for key in settings.DATA_KEYS
    ]
