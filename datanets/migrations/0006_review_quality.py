from __future__ import annotations

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("datanets", "0003_access_requests"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Appeal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("text", models.CharField(max_length=1000)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="GoldAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("approve", "Approve"),
                            ("reject", "Reject"),
                            ("flag", "Left to a curator"),
                            ("undo", "Undo"),
                        ],
                        max_length=7,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="GoldRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "expected",
                    models.CharField(
                        choices=[("approve", "Approve"), ("reject", "Reject")], max_length=7
                    ),
                ),
                (
                    "explanation",
                    models.CharField(
                        help_text="Shown to a reviewer right after they answered.", max_length=500
                    ),
                ),
                ("retired", models.BooleanField(default=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddField(
            model_name="datanet",
            name="gold_every",
            field=models.PositiveSmallIntegerField(
                default=0,
                help_text="After so many votes a reviewer gets a test row; 0 for none.",
                validators=[django.core.validators.MaxValueValidator(1000)],
            ),
        ),
        migrations.AddField(
            model_name="datanet",
            name="newcomer_rows_a_day",
            field=models.PositiveIntegerField(
                default=2000,
                help_text="Who is new here sends no more once so many rows came in a day; who is known, ten times as many.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000000),
                ],
            ),
        ),
        migrations.AddField(
            model_name="datanet",
            name="votes_per_row",
            field=models.PositiveSmallIntegerField(
                default=1,
                help_text="Blind votes that decide a row; a tie goes to a curator. Rows of a trusted contributor need one.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(5),
                ],
            ),
        ),
        migrations.AddField(
            model_name="record",
            name="escalated",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="review",
            name="note",
            field=models.CharField(
                blank=True,
                help_text="Read by curators, and by the contributor once decided.",
                max_length=500,
            ),
        ),
        migrations.AlterField(
            model_name="review",
            name="verdict",
            field=models.CharField(
                choices=[
                    ("approve", "Approve"),
                    ("reject", "Reject"),
                    ("flag", "Left to a curator"),
                    ("undo", "Undo"),
                ],
                max_length=7,
            ),
        ),
        migrations.AddIndex(
            model_name="record",
            index=models.Index(
                condition=models.Q(("escalated", True)),
                fields=["datanet", "id"],
                name="record_escalated",
            ),
        ),
        migrations.AddConstraint(
            model_name="datanet",
            constraint=models.CheckConstraint(
                condition=models.Q(("votes_per_row__range", (1, 5))),
                name="one_to_five_votes_decide",
            ),
        ),
        migrations.AddConstraint(
            model_name="record",
            constraint=models.CheckConstraint(
                condition=models.Q(("escalated", False), ("state", "pending"), _connector="OR"),
                name="only_pending_rows_are_escalated",
            ),
        ),
        migrations.AddField(
            model_name="appeal",
            name="record",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="appeal",
                to="datanets.record",
            ),
        ),
        migrations.AddField(
            model_name="goldanswer",
            name="reviewer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="goldrow",
            name="created_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="goldrow",
            name="record",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="gold",
                to="datanets.record",
            ),
        ),
        migrations.AddField(
            model_name="goldanswer",
            name="gold",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="answers",
                to="datanets.goldrow",
            ),
        ),
        migrations.AddConstraint(
            model_name="goldanswer",
            constraint=models.UniqueConstraint(
                fields=("gold", "reviewer"), name="test_row_answered_once"
            ),
        ),
    ]
