from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from openledger_site.core.backup import BackupRefused, restore


class Command(BaseCommand):
    help = "Fill an empty database and an empty media folder from a backup's folder."
    # The checks look for tables, and there are none yet.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="what `manage.py backup` wrote")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            manifest = restore(folder.absolute())
        except BackupRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            f"Restored what the site was at {manifest.made_at}. Before people come back: "
            "`manage.py verify_audit`, `manage.py reconcile`, and withdraw again what was "
            "withdrawn after that moment."
        )
