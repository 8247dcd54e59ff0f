"""One client of our ledger: `python -m bench.money.client plain|batched|hot|hot_batched ...`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import django

from bench.money.load import serve

ACCOUNTS = 2_000
BATCH = 250
FUNDED_WEI = 10**27


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["prepare", "plain", "batched", "hot", "hot_batched"])
    parser.add_argument("--client", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    django.setup()
    if arguments.mode == "prepare":
        prepare()
        return
    call = _caller(arguments.mode, random.Random(arguments.client))
    print(serve(call, arguments.seconds), flush=True)


def prepare() -> None:
    """People with money in both account kinds that the clients use."""
    from openledger_site.accounts.models import User
    from rewards.models import Account
    from rewards.services.ledger import post, system_account

    people = User.objects.bulk_create(
        User(email=f"bench{number}@example.org", display_name=f"Bench {number}")
        for number in range(ACCOUNTS)
    )
    kind = Account.Kind.SPENDABLE
    accounts = Account.objects.bulk_create(
        Account(code=f"user:{person.public_id}:{kind}", kind=kind, owner=person)
        for person in people
    )
    custody = system_account(Account.Kind.CUSTODY)
    legs = [(custody, -FUNDED_WEI * len(accounts)), *((one, FUNDED_WEI) for one in accounts)]
    post(key="bench:fund", kind="deposit", legs=legs, reason="Benchmark")


def _caller(mode: str, draw: random.Random) -> Callable[[int], int]:
    from rewards.models import Account
    from rewards.services.ledger import post, system_account

    people = list(Account.objects.filter(kind=Account.Kind.SPENDABLE).order_by("pk"))
    platform = system_account(Account.Kind.FEES)

    def legs() -> list[Any]:
        amount = draw.randint(1, 10**18)
        if mode.startswith("hot"):
            return [(draw.choice(people), -amount), (platform, amount)]
        payer, payee = draw.sample(people, 2)
        return [(payer, -amount), (payee, amount)]

    def one(_: int) -> int:
        post(key=str(uuid4()), kind="bench", legs=legs(), reason="Benchmark")
        return 1

    def many(_: int) -> int:
        from rewards.services.batches import post_many
        from rewards.services.ledger import Posting

        batch = [
            Posting(key=str(uuid4()), kind="bench", legs=legs(), reason="Benchmark")
            for _ in range(BATCH)
        ]
        outcomes = post_many(batch)
        return sum(not isinstance(outcome, Exception) for outcome in outcomes)

    return many if "batched" in mode else one


if __name__ == "__main__":
    main()
