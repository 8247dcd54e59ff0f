"""Make a site again from a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from openledger_site.core.backup import tools
from openledger_site.core.backup.manifest import (
    BackupRefused,
    Manifest,
    digest_of,
    files_in,
    kept_folders,
    key_fingerprints,
)
from openledger_site.core.row_security import make_role


def restore(folder: Path) -> Manifest:
    """Fill an empty database and an empty media folder from `folder`.

    All is checked before anything is written. The files come first and the database in one
    transaction after them, so a restore that was cut off has left files that no row names: empty
    the media folder and start again.

    Raises `BackupRefused` for a changed or missing file, a place that is not empty, a backup of a
    later release, and where the secret that opens sealed files and rows is another one.
    """
    manifest = Manifest.read(folder)
    _check_release(manifest)
    _check_keys(manifest)
    _check_files(manifest, folder)
    _check_place()
    for name, target in kept_folders().items():
        shutil.copytree(folder / name, target, dirs_exist_ok=True)
    make_role(using="default")  # policies name it
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    tools.run("pg_restore", *options, str(folder / "database.dump"))
    call_command("migrate", verbosity=0)
    return manifest


def _check_place() -> None:
    if connection.introspection.table_names():
        raise BackupRefused("The database has tables. Name an empty one in DATABASE_URL.")
    for folder in kept_folders().values():
        if files_in(folder):
            raise BackupRefused(
                f"{folder} has files. Move them away, or name another OPENLEDGER_LOCAL_DIR."
            )


def _check_release(manifest: Manifest) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    later = sorted(set(manifest.migrations) - known)
    if later:
        raise BackupRefused(
            f"The backup is of release {manifest.software} and has tables that this release does "
            f"not know ({later[-1]}). Restore it with that release or a later one."
        )


def _check_keys(manifest: Manifest) -> None:
    if not set(manifest.data_keys[:1]) <= set(key_fingerprints()):
        raise BackupRefused(
            "DATA_KEYS is not the secret that this backup was sealed under. Set it, or put "
            "secrets/data-key of that site in its place; without it private rows cannot be read."
        )


def _check_files(manifest: Manifest, folder: Path) -> None:
    found = set(files_in(folder))
    for name, digest in manifest.files.items():
        if name not in found or digest_of(folder / name) != digest:
            raise BackupRefused(f"{name} is missing or was changed. Take another backup.")
