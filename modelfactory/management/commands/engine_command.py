"""Print the command line and environment that start the engine, for a process supervisor."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from modelfactory.services import engine_command


class Command(BaseCommand):
    help = "Print how the engine is started."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="args and env as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        command = engine_command()
        if options["json"]:
            self.stdout.write(json.dumps({"args": command.arguments, "env": command.environment}))
        else:
            self.stdout.write(shlex.join(command.arguments))
