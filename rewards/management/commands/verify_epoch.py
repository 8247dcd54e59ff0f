"""`manage.py verify_epoch LIST [EARLIER_LIST]`: root and amounts of an epoch, from public files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rewards.leaf_lists import LeafList, paid_between, read_leaf_list


class Command(BaseCommand):
    help = (
        "Recompute an epoch's root, total and the hash of its leaf list, offline. "
        "With an earlier list: what was paid to whom in between."
    )
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("list", type=Path, help="leaves.json of the epoch's page")
        parser.add_argument("earlier", type=Path, nargs="?", help="that of an earlier epoch")
        parser.add_argument("--root", help="the root that the chain shows, to compare with")

    def handle(self, *args: Any, **options: Any) -> None:
        later = _read(options["list"])
        problems = list(later.problems)
        if options["root"] and options["root"].lower() != later.root:
            problems.append(f"the chain's root {options['root']} is another one")
        said: dict[str, Any] = {
            "epoch": later.epoch,
            "root": later.root,
            "leaf_file": later.sha256,
            "total_wei": str(later.total_wei),
            "addresses": len(later.cumulative_wei),
        }
        if options["earlier"]:
            earlier = _read(options["earlier"])
            problems += [f"earlier list: {problem}" for problem in earlier.problems]
            try:
                paid = paid_between(later, earlier)
            except ValueError as problem:
                problems.append(str(problem))
            else:
                said["paid_wei"] = {account: str(wei) for account, wei in paid.items()}
        self.stdout.write(json.dumps({"ok": not problems, **said, "problems": problems}, indent=1))
        if problems:
            raise CommandError("The epoch does not add up: " + "; ".join(problems))


def _read(path: Path) -> LeafList:
    try:
        return read_leaf_list(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise CommandError(f"{path.name}: {problem}") from problem
