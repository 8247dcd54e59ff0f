from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from openledger_site.core.audit import verify_audit


class Command(BaseCommand):
    help = "Walk the hash-chained audit log; exit 1 if an entry was changed, removed or inserted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        report = verify_audit()
        self.stdout.write(_as_text(dataclasses.asdict(report), json))
        if not report.ok:
            sys.exit(1)


def _as_text(report: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(report)
    if report["ok"]:
        return f"{report['entries']} entries, unbroken. Head {report['head']}."
    return f"Entry {report['first_bad']} does not fit the chain."
