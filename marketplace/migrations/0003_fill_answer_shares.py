"""Answers settled before there were shares get theirs from their receipts, which say the same."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def shares_of(body: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Parts and wei by the public id of everybody whose rows a receipt lists."""
    influence = body["evidence"]["influence"]
    if influence is None:
        return {}
    paid = {person["user"]: int(person["wei"]) for person in body["contributors"]}
    parts = influence["owner_parts"]
    people = set(influence["owners"].values())
    return {person: (parts.get(person, 0), paid.get(person, 0)) for person in people}


def fill(apps: Any, schema_editor: Any) -> None:
    receipts = apps.get_model("marketplace", "Receipt").objects.filter(inference__shares=None)
    people = apps.get_model("accounts", "User").objects
    share_model = apps.get_model("marketplace", "AnswerShare")
    for receipt in receipts.order_by("pk").iterator(chunk_size=200):
        shares = shares_of(receipt.body)
        share_model.objects.bulk_create(
            share_model(
                inference_id=receipt.inference_id,
                contributor=person,
                parts=shares[str(person.public_id)][0],
                amount_wei=shares[str(person.public_id)][1],
            )
            for person in people.filter(public_id__in=shares).order_by("pk")
        )


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0002_answer_shares_and_disputes"),
        ("accounts", "0001_initial"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
