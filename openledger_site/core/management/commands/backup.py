from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from openledger_site.core.backup import BackupRefused, back_up


class Command(BaseCommand):
    help = "Copy database, kept files and contract addresses to a new folder; no secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that does not exist yet")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            manifest = back_up(folder.absolute())
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            f"{len(manifest.files)} files in {folder}. Not in it: DATA_KEYS (or secrets/data-key), "
            "SECRET_KEY and the operator's key. Keep those elsewhere; without DATA_KEYS private "
            "rows are lost."
        )
