# mypy: ignore-errors
"""One client of the ledger that a tutorial would write: models, `select_for_update`, `save`.

A balance field, two legs, the balance checked in Python and both rows saved. No trigger keeps it
right, no key makes a retry safe.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import django
import environ
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parents[3]))
ACCOUNTS = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["prepare", "plain", "hot"])
    parser.add_argument("--database", required=True)
    parser.add_argument("--client", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    settings.configure(
        DATABASES={"default": environ.Env.db_url_config(arguments.database)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.db import connection, models, transaction

    class Account(models.Model):  # noqa: DJ008 - nobody prints it
        name = models.CharField(max_length=80, unique=True)
        balance = models.DecimalField(max_digits=78, decimal_places=0, default=0)

        class Meta:
            app_label = "naive"

    class Movement(models.Model):  # noqa: DJ008 - nobody prints it
        reason = models.CharField(max_length=200)
        created_at = models.DateTimeField(auto_now_add=True)

        class Meta:
            app_label = "naive"

    class Leg(models.Model):  # noqa: DJ008 - nobody prints it
        movement = models.ForeignKey(Movement, on_delete=models.PROTECT)
        account = models.ForeignKey(Account, on_delete=models.PROTECT)
        amount = models.DecimalField(max_digits=78, decimal_places=0)

        class Meta:
            app_label = "naive"

    if arguments.mode == "prepare":
        with connection.schema_editor() as editor:
            for model in (Account, Movement, Leg):
                editor.create_model(model)
        Account.objects.bulk_create(
            Account(name=f"person {number}", balance=10**27) for number in range(ACCOUNTS)
        )
        Account.objects.create(name="platform")
        return

    draw = random.Random(arguments.client)
    people = list(Account.objects.exclude(name="platform").values_list("pk", flat=True))
    platform = Account.objects.get(name="platform").pk

    def one(_: int) -> int:
        payer_id, payee_id = draw.sample(people, 2)
        if arguments.mode == "hot":
            payee_id = platform
        amount = draw.randint(1, 10**18)
        with transaction.atomic():
            both = Account.objects.select_for_update().filter(pk__in=[payer_id, payee_id])
            locked = {account.pk: account for account in both.order_by("pk")}
            payer, payee = locked[payer_id], locked[payee_id]
            if payer.balance < amount:
                raise ValueError("not enough")
            payer.balance -= amount
            payee.balance += amount
            payer.save()
            payee.save()
            movement = Movement.objects.create(reason="Benchmark")
            Leg.objects.create(movement=movement, account=payer, amount=-amount)
            Leg.objects.create(movement=movement, account=payee, amount=amount)
        return 1

    from bench.money.load import serve

    print(serve(one, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
