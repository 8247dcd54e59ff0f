"""`manage.py verify_inclusion FILE`: is this row under this root? Reads only the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from datanets.inclusion import check_inclusion


class Command(BaseCommand):
    help = "Recompute an inclusion proof from the text up to the Merkle root, offline."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            proof = json.loads(options["file"].read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise CommandError(f"The file cannot be read: {problem}") from problem
        problems = check_inclusion(proof)
        root = proof.get("merkle_root") if isinstance(proof, dict) else None
        self.stdout.write(json.dumps({"ok": not problems, "root": root, "problems": problems}))
        if problems:
            raise CommandError("The proof does not hold.")
