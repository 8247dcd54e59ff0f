from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Beside people who ask, however long it takes.
    atomic = False

    dependencies = [
        ("marketplace", "0009_erased_answers"),
    ]

    operations = [
        migrations.RunSQL("SET statement_timeout = 0", "SET statement_timeout = 0"),
        AddIndexConcurrently(
            model_name="inference",
            index=models.Index(
                condition=models.Q(("state", "answered")),
                fields=["created_at"],
                name="inference_unsettled",
            ),
        ),
        migrations.RunSQL("RESET statement_timeout", "RESET statement_timeout"),
    ]
