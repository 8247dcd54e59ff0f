"""What a run learnt stands in a column of its own, which is keyed where its rows are private."""

from __future__ import annotations

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations

import datanets.models.sealed

# A run that is settled never changes: this moves a value of it and leaves everything as it is.
MOVE = """
ALTER TABLE modelfactory_run DISABLE TRIGGER USER;
UPDATE modelfactory_run
SET rows_digest = metrics ->> 'examples_digest', metrics = metrics - 'examples_digest'
WHERE metrics ->> 'examples_digest' <> '';
ALTER TABLE modelfactory_run ENABLE TRIGGER USER;
"""
MOVE_BACK = """
ALTER TABLE modelfactory_run DISABLE TRIGGER USER;
UPDATE modelfactory_run
SET metrics = metrics || jsonb_build_object('examples_digest', rows_digest)
WHERE rows_digest <> '';
ALTER TABLE modelfactory_run ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("modelfactory", "0007_sealed_results"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="rows_digest",
            field=datanets.models.sealed.KeyedHashField(
                blank=True,
                db_default="",
                default="",
                help_text="SHA-256 of the examples that it learnt; empty for an older run.",
                max_length=64,
            ),
        ),
        migrations.RunSQL(MOVE, MOVE_BACK),
        migrations.AlterField(
            model_name="calibration",
            name="rows_digest",
            field=datanets.models.sealed.KeyedHashField(
                help_text="SHA-256 of the run's examples: all retrainings need the same.",
                max_length=64,
            ),
        ),
        migrations.AlterField(
            model_name="valuation",
            name="rows_digest",
            field=datanets.models.sealed.KeyedHashField(
                help_text="SHA-256 of the run's examples: all retrainings need the same.",
                max_length=64,
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="run",
            trigger=pgtrigger.compiler.Trigger(
                name="run_keeps_what_it_learnt",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.settled_at IS NOT NULL AND OLD.rows_digest <> NEW.rows_digest AND (OLD.rows_digest = '' OR starts_with(OLD.rows_digest, 'keyed:') OR NOT starts_with(NEW.rows_digest, 'keyed:')))",
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
                    hash="31f7151e5866bf7c4f51dab5d697dacfedf3fa82",
                    operation="UPDATE",
                    pgid="pgtrigger_run_keeps_what_it_learnt_1ba23",
                    table="modelfactory_run",
                    when="BEFORE",
                ),
            ),
        ),
    ]
