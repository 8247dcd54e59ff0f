from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import openledger_site.core.money


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("core", "0001_initial"),
        ("marketplace", "0003_fill_answer_shares"),
        ("modelfactory", "0005_contributor_values"),
        ("rewards", "0002_ledger_speed"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SpendingCap",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day_wei", openledger_site.core.money.WeiField(blank=True, null=True)),
                ("month_wei", openledger_site.core.money.WeiField(blank=True, null=True)),
                ("alert_percent", models.PositiveSmallIntegerField(default=80)),
                (
                    "alerted_month",
                    models.DateField(
                        blank=True, help_text="The last one with an alert.", null=True
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="inference",
            index=models.Index(fields=["consumer", "created_at"], name="inference_spending"),
        ),
        migrations.AddField(
            model_name="spendingcap",
            name="api_key",
            field=models.OneToOneField(
                blank=True,
                help_text="Empty: of everything the person asks.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="spending_cap",
                to="accounts.apikey",
            ),
        ),
        migrations.AddField(
            model_name="spendingcap",
            name="consumer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="spending_caps",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="spendingcap",
            constraint=models.UniqueConstraint(
                condition=models.Q(("api_key__isnull", True)),
                fields=("consumer",),
                name="spending_cap_once_per_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="spendingcap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("day_wei__isnull", True), ("day_wei__gte", 0), _connector="OR"),
                    models.Q(("month_wei__isnull", True), ("month_wei__gte", 0), _connector="OR"),
                ),
                name="spending_cap_is_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="spendingcap",
            constraint=models.CheckConstraint(
                condition=models.Q(("alert_percent__range", (1, 100))),
                name="spending_alert_is_a_percentage",
            ),
        ),
    ]
