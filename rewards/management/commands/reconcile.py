from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rewards.services import reconcile


class Command(BaseCommand):
    help = "Check the books against themselves, the receipts and the chain; exit 1 if not clean."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        report = reconcile()
        answer = report.as_dict()
        if options["json"]:
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write(f"{'Clean' if report.ok else 'NOT clean'} {answer.get('reason', '')}")
            for name, check in answer["checks"].items():
                self.stdout.write(f"{name}: {'; '.join(check['problems']) or 'ok'}")
        if not report.ok:
            sys.exit(1)
