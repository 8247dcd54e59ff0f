# mypy: ignore-errors
"""One client of django-hordak, in its own environment: `hordak_peer.py plain|hot ...`.

`Account.transfer_to` as its documentation shows it: a transaction with two legs, checked by
hordak's triggers. No overdraft check and no idempotency key, which ours does as well.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.conf import settings

ACCOUNTS = 2_000
_load = importlib.util.spec_from_file_location("load", Path(__file__).parents[1] / "load.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["prepare", "plain", "hot"])
    parser.add_argument("--database", required=True)
    parser.add_argument("--client", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    settings.configure(
        DATABASES={"default": dj_database_url.parse(arguments.database)},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "mptt", "hordak"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="bench",  # noqa: S106 - signs nothing
        DEFAULT_CURRENCY="EUR",
        USE_TZ=True,
    )
    django.setup()
    if arguments.mode == "prepare":
        prepare()
        return
    from djmoney.money import Money
    from hordak.models import Account

    draw = random.Random(arguments.client)
    accounts = list(Account.objects.filter(name__startswith="person").order_by("pk"))
    platform = Account.objects.get(name="platform")

    def one(_: int) -> int:
        payer, payee = draw.sample(accounts, 2)
        if arguments.mode == "hot":
            payee = platform
        payer.transfer_to(payee, Money(draw.randint(1, 100_000), "EUR"))
        return 1

    print(_module().serve(one, arguments.seconds), flush=True)


def _module() -> Any:
    assert _load is not None
    assert _load.loader is not None
    module = importlib.util.module_from_spec(_load)
    sys.modules["load"] = module  # dataclasses look their module up
    _load.loader.exec_module(module)
    return module


def prepare() -> None:
    from django.core.management import call_command
    from hordak.models import Account, AccountType

    call_command("migrate", verbosity=0)
    for number in range(ACCOUNTS):
        Account.objects.create(
            name=f"person {number}", code=str(number), type=AccountType.income, currencies=["EUR"]
        )
    Account.objects.create(name="platform", code="p", type=AccountType.income, currencies=["EUR"])


if __name__ == "__main__":
    main()
