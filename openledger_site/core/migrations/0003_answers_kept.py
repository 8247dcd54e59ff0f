from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Beside people who send forms, however long it takes.
    atomic = False

    dependencies = [
        ("core", "0002_keyed_fingerprints"),
    ]

    operations = [
        migrations.RunSQL("SET statement_timeout = 0", "SET statement_timeout = 0"),
        AddIndexConcurrently(
            model_name="answeredrequest",
            index=models.Index(
                condition=models.Q(("headers", {}), _negated=True),
                fields=["created_at"],
                name="request_answers_kept",
            ),
        ),
        migrations.RunSQL("RESET statement_timeout", "RESET statement_timeout"),
    ]
