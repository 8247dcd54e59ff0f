from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rewards.models import DailyClosing
from rewards.services.closings import differing_days


class Command(BaseCommand):
    help = "Compute every closed day of the books again, posting by posting; exit 1 if one differs."

    def handle(self, *args: Any, **options: Any) -> None:
        problems = differing_days()
        if problems:
            raise CommandError("; ".join(problems))
        last = DailyClosing.objects.first()
        count = DailyClosing.objects.count()
        digest = f", the last digest is {last.digest}" if last else ""
        self.stdout.write(f"{count} closed days stand as they were closed{digest}.")
