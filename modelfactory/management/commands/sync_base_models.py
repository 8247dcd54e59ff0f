"""Register the shipped base models and the one in `BASE_MODEL`. Safe to run at every start."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from modelfactory.services import sync_base_models


class Command(BaseCommand):
    help = "Register the base models that runs may start from."

    def handle(self, *args: Any, **options: Any) -> None:
        for base in sync_base_models():
            self.stdout.write(f"{base.slug} {base.parameter_count} {base.digest or base.source}")
