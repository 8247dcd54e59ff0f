"""Wrap the data keys by the newest secret, and seal files and rows that are still plain."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from datanets.services import (
    FileUnreadable,
    rotate_data_keys,
    seal_plain_files,
    seal_plain_rows,
)
from openledger_site.core.idempotency import key_old_fingerprints


class Command(BaseCommand):
    help = (
        "After putting a new secret first in DATA_KEYS: wraps every data key by it, and seals "
        "files of restricted and private Datanets and rows of private ones that are still plain. "
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
        key_old_fingerprints()
        files, rows = seal_plain_files(), seal_plain_rows()
        self.stdout.write(f"{rotated} keys wrapped anew, {files} files and {rows} rows sealed.")
