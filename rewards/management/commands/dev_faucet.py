from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from eth_utils.address import is_checksum_address

from openledger_site.core.errors import DomainError
from openledger_site.core.money import parse_open
from rewards.chain.errors import ChainError
from rewards.services.dev_chain import give_test_open


class Command(BaseCommand):
    help = "Give an address test OPEN, and coin for gas. On the development chain only."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address", help="EIP-55 checksummed")
        parser.add_argument("amount_open")

    def handle(self, *args: Any, address: str, amount_open: str, **options: Any) -> None:
        if not is_checksum_address(address):
            raise CommandError("Write the address with its checksum (EIP-55).")
        try:
            transactions = give_test_open(address, parse_open(amount_open))
        except (ChainError, DomainError, ValueError) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(json.dumps({"address": address, "transactions": transactions}))
