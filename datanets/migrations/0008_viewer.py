"""What the viewer sorts, filters and searches by; cards; the counts of a version."""

from __future__ import annotations

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import datanets.models.contribution

# The words of a row as the index keeps them. 60,000 characters, because a vector of words has a
# limit of its own and a row must never fail for it. One word names the Datanet, so that a search in
# a small one does not walk through the rows of a large one. Nothing is stored but the index: what
# is withdrawn is gone from it too.
MAKE_WORDS = """
CREATE FUNCTION datanets_row_words(
    datanet bigint, instruction text, response text, rejected text, body text, messages jsonb
) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector(
        'simple'::regconfig,
        left(
            'rowsofdatanet' || datanet || ' ' || instruction || ' ' || response || ' ' || rejected
            || ' ' || body || ' ' || coalesce(
                (SELECT string_agg(turn ->> 'content', ' ')
                 FROM jsonb_array_elements(messages) AS turn), ''
            ),
            60000
        )
    )
$$
"""
COUNT_CHARACTERS = """
UPDATE datanets_record SET characters = length(concat_ws(
    ' ', nullif(instruction, ''), nullif(response, ''), nullif(rejected, ''), nullif(text, ''),
    (SELECT string_agg(turn ->> 'content', ' ') FROM jsonb_array_elements(messages) AS turn)
)) WHERE state <> 'withdrawn'
"""
ACCEPTED = models.Q(state="approved")


class Migration(migrations.Migration):
    dependencies = [
        ("datanets", "0007_second_looks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DatanetCard",
            fields=[
                (
                    "datanet",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="card",
                        serialize=False,
                        to="datanets.datanet",
                    ),
                ),
                ("purpose", models.TextField(blank=True, max_length=3000)),
                ("collection", models.TextField(blank=True, max_length=3000)),
                ("languages", models.CharField(blank=True, max_length=200)),
                ("limits", models.TextField(blank=True, max_length=3000)),
                ("intended_use", models.TextField(blank=True, max_length=3000)),
                ("excluded_use", models.TextField(blank=True, max_length=3000)),
                ("maintenance", models.TextField(blank=True, max_length=3000)),
                ("contact", models.CharField(blank=True, max_length=200)),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "updated_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="VersionSummary",
            fields=[
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="summary",
                        serialize=False,
                        to="datanets.version",
                    ),
                ),
                ("counts", models.JSONField()),
            ],
        ),
        migrations.AddField(
            model_name="record",
            name="characters",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="record", name="is_sample", field=models.BooleanField(default=False)
        ),
        migrations.AddField(
            model_name="record",
            name="language",
            field=models.CharField(blank=True, max_length=3),
        ),
        migrations.RunSQL(
            MAKE_WORDS,
            "DROP FUNCTION datanets_row_words(bigint, text, text, text, text, jsonb)",
        ),
        migrations.RunSQL(COUNT_CHARACTERS, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="record",
            index=models.Index(
                condition=ACCEPTED,
                fields=["datanet", "id"],
                include=("characters", "contribution", "kind", "language", "flags"),
                name="record_rows",
            ),
        ),
        migrations.AddIndex(
            model_name="record",
            index=models.Index(
                condition=ACCEPTED,
                fields=["datanet", "characters", "id"],
                include=("contribution", "kind", "language", "flags"),
                name="record_rows_by_length",
            ),
        ),
        migrations.AddIndex(
            model_name="record",
            index=django.contrib.postgres.indexes.GinIndex(
                datanets.models.contribution.RowWords(), condition=ACCEPTED, name="record_words"
            ),
        ),
        migrations.AddIndex(
            model_name="record",
            index=models.Index(
                condition=models.Q(("state", "approved"), ("is_sample", True)),
                fields=["datanet", "id"],
                name="record_samples",
            ),
        ),
    ]
