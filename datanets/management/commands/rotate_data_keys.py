"""Wrap the keys of kept files by the newest secret, and seal files that are still plain."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from datanets.services import FileUnreadable, rotate_data_keys, seal_plain_files


class Command(BaseCommand):
    help = (
        "After putting a new secret first in DATA_KEYS: wraps every data key by it, and seals "
        "files of restricted and private Datanets that are still plain. Then the old one may go."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rotated = rotate_data_keys()
        except FileUnreadable as problem:
            raise CommandError(
                "A data key is wrapped by a secret that DATA_KEYS does not hold. Add the old one "
                "after the new one and run this again."
            ) from problem
        sealed = seal_plain_files()
        self.stdout.write(f"{rotated} keys wrapped anew, {sealed} files sealed.")
