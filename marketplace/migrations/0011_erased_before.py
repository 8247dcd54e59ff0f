from __future__ import annotations

from typing import Any

import pgtrigger
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def take_the_rest(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Answers erased by the first build that could left the words that end an answer, and how well
    the question's words fit each row.
    """
    inferences: Any = apps.get_model("marketplace", "Inference")
    for row in inferences.objects.filter(erased_at__isnull=False).iterator(chunk_size=500):
        if row.sampling.get("stop"):
            row.sampling["stop"] = []
            row.save(update_fields=["sampling"])
    receipts: Any = apps.get_model("marketplace", "Receipt")
    with pgtrigger.ignore("marketplace.Receipt:receipt_is_final"):
        for receipt in receipts.objects.filter(body__has_key="erased_at").iterator(chunk_size=500):
            influence = receipt.body["evidence"].get("influence")
            records = influence["attribution"]["records"] if influence else []
            if any(record.get("lexical_micro") for record in records):
                for record in records:
                    record["lexical_micro"] = 0
                receipt.save(update_fields=["body"])


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0010_unsettled_answers"),
    ]

    operations = [migrations.RunPython(take_the_rest, migrations.RunPython.noop)]
