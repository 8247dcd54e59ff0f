from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from openledger_site.core.errors import DomainError
from rewards.chain.errors import ChainError
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.services.deployment import deploy_contracts, deployment_plan, waiting_for_owner


class Command(BaseCommand):
    help = (
        "Deploy the contracts, unless they are there already. On a real chain it says what it would"
        " do, and does it with --chain and the chain's id."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--chain", type=int, help="the id of CHAIN_ID, to mean it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if settings.CHAIN_ID not in (DEVELOPMENT_CHAIN_ID, options["chain"]):
                self.stdout.write(json.dumps(deployment_plan(), indent=1))
                raise CommandError(
                    "Nothing was deployed. If this is what you want, say it again with"
                    f" --chain {settings.CHAIN_ID}."
                )
            addresses, is_new = deploy_contracts()
            waiting = waiting_for_owner(addresses)
        except (ChainError, DomainError) as problem:
            raise CommandError(str(problem)) from problem
        if options["verbosity"]:
            found = {"deployed": is_new, **asdict(addresses), "owner_has_to_accept": waiting}
            self.stdout.write(json.dumps(found))
