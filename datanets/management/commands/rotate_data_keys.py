"""Wrap the data keys by the newest secret, and store files and rows as their Datanets ask."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from datanets.services import (
    FileUnreadable,
    open_sealed_rows,
    rename_sealed_files,
    rotate_data_keys,
    seal_plain_files,
    seal_plain_rows,
)
from openledger_site.core.idempotency import key_old_fingerprints


class Command(BaseCommand):
    help = (
        "After putting a new secret first in DATA_KEYS: wraps every data key by it, and seals "
        "files of restricted and private Datanets and rows of private ones that are still plain, "
        "keys the hashes of the latter, and opens rows of Datanets that are private no more. "
        "Then the old one may go."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rotated = rotate_data_keys()
        except FileUnreadable as problem:
            raise CommandError(
                "A data key is wrapped by a secret that DATA_KEYS does not hold. Add the old one "
                "after the new one and run this again."
            ) from problem
        rename_sealed_files()
        key_old_fingerprints()
        files, rows, opened = seal_plain_files(), seal_plain_rows(), open_sealed_rows()
        self.stdout.write(
            f"{rotated} keys wrapped anew, {files} files and {rows} rows sealed, "
            f"{opened} rows opened."
        )
