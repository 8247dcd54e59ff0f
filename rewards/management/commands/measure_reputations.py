from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from rewards.services import measure_reputations


class Command(BaseCommand):
    help = "Measure everybody's reputation from the books now; the clock does it every 5 minutes."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{measure_reputations()} people have evidence.")
