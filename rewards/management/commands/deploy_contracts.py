from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from openledger_site.core.errors import DomainError
from rewards.chain.errors import ChainError
from rewards.services.dev_chain import deploy_contracts


class Command(BaseCommand):
    help = "Deploy the contracts on the development chain, unless they are there already."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            addresses, is_new = deploy_contracts()
        except (ChainError, DomainError) as problem:
            raise CommandError(str(problem)) from problem
        if options["verbosity"]:
            self.stdout.write(json.dumps({"deployed": is_new, **asdict(addresses)}))
