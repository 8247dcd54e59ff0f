from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.receipts import verify


class Command(BaseCommand):
    help = (
        "Replay one exported receipt offline: seal, fee, shares, split, and scores from the index."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a receipt as downloaded (JSON)")
        parser.add_argument("--index", type=Path, help="folder of the attribution index")
        parser.add_argument("--public-key", help="hex of the site's receipt key, if you know it")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            receipt = json.loads(options["file"].read_text(encoding="utf-8"))
            folder = (
                options["index"] or settings.ATTRIBUTION_DIR / receipt["body"]["adapter_digest"]
            )
            result = verify(receipt, index_folder=folder, public_key=options["public_key"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise CommandError(f"{options['file']}: {problem}") from problem
        if options["as_json"]:
            self.stdout.write(json.dumps({"ok": result.ok, **result.__dict__}))
        else:
            for name in result.checked:
                self.stdout.write(f"replayed  {name}")
            for name in result.skipped:
                self.stdout.write(f"skipped   {name}")
            for name in result.problems:
                self.stdout.write(f"WRONG     {name}")
            self.stdout.write("The receipt holds." if result.ok else "The receipt does NOT hold.")
        if not result.ok:
            sys.exit(1)
