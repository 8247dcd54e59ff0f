"""Take a backup while the site runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from openledger_site.core.backup import tools
from openledger_site.core.backup.manifest import (
    BackupRefused,
    Manifest,
    applied_migrations,
    digest_of,
    files_in,
    kept_folders,
    key_fingerprints,
)


def back_up(folder: Path) -> Manifest:
    """Write a backup to `folder`, which must not exist; all of it or, on any error, none.

    The database first: it is one moment's (pg_dump's snapshot), and a file is stored before the row
    that names it and deleted after, so the files copied later hold all that its rows name, but for
    what was withdrawn in between.

    Raises `BackupRefused` for a folder that exists and for what the tools refuse.
    """
    if folder.exists():
        raise BackupRefused(f"{folder} exists. Name a folder that does not.")
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, mode=0o700)
    try:
        manifest = _write(partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial)
        raise
    return manifest


def _write(folder: Path) -> Manifest:
    migrations = applied_migrations()
    file = str(folder / "database.dump")
    tools.run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file", file)
    for name, source in kept_folders().items():
        _copy_tree(source, folder / name)
    manifest = Manifest(
        made_at=timezone.now().isoformat(timespec="seconds"),
        software=settings.VERSION,
        server=".".join(map(str, connection.get_database_version())),
        migrations=migrations,
        data_keys=key_fingerprints(),
        files={name: digest_of(folder / name) for name in files_in(folder)},
    )
    manifest.write(folder)
    return manifest


def _copy_tree(source: Path, target: Path) -> None:
    """A site that runs deletes files meanwhile: one that is gone was to go."""
    target.mkdir()
    for name in files_in(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(source / name, target / name)
        except FileNotFoundError:
            continue
