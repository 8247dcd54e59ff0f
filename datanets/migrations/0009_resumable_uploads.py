from __future__ import annotations

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("datanets", "0008_viewer"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ResumableUpload",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("filename", models.CharField(blank=True, max_length=120)),
                (
                    "size_bytes",
                    models.PositiveBigIntegerField(help_text="Announced when it began."),
                ),
                (
                    "offset_bytes",
                    models.PositiveBigIntegerField(default=0, help_text="On disk for certain."),
                ),
                ("expected_digest", models.CharField(blank=True, max_length=64)),
                (
                    "digest",
                    models.CharField(
                        blank=True,
                        help_text="SHA-256 of what arrived, once all of it has.",
                        max_length=64,
                    ),
                ),
                ("expires_at", models.DateTimeField(db_index=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "datanet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="uploads",
                        to="datanets.datanet",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="uploads",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("offset_bytes__lte", models.F("size_bytes"))),
                        name="upload_holds_no_more_than_announced",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("digest", ""),
                            ("offset_bytes", models.F("size_bytes")),
                            _connector="OR",
                        ),
                        name="only_a_whole_upload_has_a_digest",
                    ),
                ],
            },
        ),
    ]
