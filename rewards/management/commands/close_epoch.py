from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from rewards.services import close_epoch


class Command(BaseCommand):
    help = "Close the payout epoch now; worker processes put its root on chain."

    def handle(self, *args: Any, **options: Any) -> None:
        epoch = close_epoch(actor=None)
        self.stdout.write(
            json.dumps(
                {"epoch": epoch.number, "amount_wei": str(epoch.amount_wei), "root": epoch.root}
            )
        )
