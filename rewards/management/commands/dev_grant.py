from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from eth_utils.address import is_checksum_address

from openledger_site.core.errors import DomainError
from openledger_site.core.money import parse_open
from rewards.chain.errors import ChainError
from rewards.services.dev_chain import grant_test_open
from rewards.vesting import Schedule

DAY_SECONDS = 86_400


class Command(BaseCommand):
    help = "Grant an address test OPEN that unlocks over time. On the development chain only."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address", help="EIP-55 checksummed")
        parser.add_argument("amount_open")
        parser.add_argument("--days", type=int, default=1460, help="from beginning to end")
        parser.add_argument("--cliff-days", type=int, default=365)
        parser.add_argument("--began-days-ago", type=int, default=0)

    def handle(self, *args: Any, address: str, amount_open: str, **options: Any) -> None:
        if not is_checksum_address(address):
            raise CommandError("Write the address with its checksum (EIP-55).")
        schedule = Schedule(
            start=int(time.time()) - options["began_days_ago"] * DAY_SECONDS,
            cliff_seconds=options["cliff_days"] * DAY_SECONDS,
            duration_seconds=options["days"] * DAY_SECONDS,
        )
        try:
            sent = grant_test_open(address, parse_open(amount_open), schedule)
        except (ChainError, DomainError, ValueError) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(json.dumps({"address": address, "transaction": sent}))
