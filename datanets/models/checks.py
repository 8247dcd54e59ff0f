"""What the checks said about a record, and personal data that waits for its contributor."""

from __future__ import annotations

import pgtrigger
from django.db import models

from datanets.checks.findings import PERSONAL_DATA_KINDS, RULES
from datanets.models.contribution import Contribution, Record
from openledger_site.core.sealing import HashKeyer


class Finding(models.Model):
    """One rule's remark on one record, for people who decide; it never decides itself."""

    record = models.ForeignKey(Record, on_delete=models.CASCADE, related_name="findings")
    rule = models.CharField(max_length=30)
    measured = models.FloatField(null=True)
    threshold = models.FloatField(null=True)
    sentence = models.CharField(max_length=400)
    column = models.CharField(max_length=20, blank=True)
    # Characters of that column, where the rule is about a place in it.
    start = models.PositiveIntegerField(null=True)
    end = models.PositiveIntegerField(null=True)
    match = models.ForeignKey(
        Record, null=True, on_delete=models.SET_NULL, related_name="matched_by"
    )

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.rule} on record {self.record_id}"

    @property
    def title(self) -> str:
        return RULES[self.rule].title if self.rule in RULES else self.rule

    @property
    def measured_text(self) -> str:
        return "" if self.measured is None else f"{self.measured:g}"

    @property
    def threshold_text(self) -> str:
        return "" if self.threshold is None else f"{self.threshold:g}"

    @property
    def explanation(self) -> str:
        return RULES[self.rule].explanation if self.rule in RULES else ""

    @property
    def source(self) -> str:
        return RULES[self.rule].source if self.rule in RULES else ""


class RecordKey(models.Model):
    """A short key by which a record is found again: as private as its text, and gone with it.

    What it is says its kind, and whether it was keyed: that of a private row always is (0050). A
    table and a plain index, because arrays with a GIN index took a minute for what this answers
    in a moment (docs/experiments.md).
    """

    class Kind(models.TextChoices):
        NEAR = "near", "A band of its MinHash"
        HELD_OUT = "held_out", "A wording of its question that is held out"
        KEYED_NEAR = "near_key", "A band of its MinHash, keyed"
        KEYED_HELD_OUT = "held_key", "A held-out wording of its question, keyed"

    KEYED = {Kind.NEAR: Kind.KEYED_NEAR, Kind.HELD_OUT: Kind.KEYED_HELD_OUT}

    record = models.ForeignKey(Record, on_delete=models.CASCADE, related_name="keys")
    kind = models.CharField(max_length=8, choices=Kind)
    key = models.BigIntegerField(db_index=True)

    class Meta:
        triggers = [
            pgtrigger.Protect(name="record_key_never_changes", operation=pgtrigger.Update),
            # A look for each statement, at few rows: a record has a dozen keys and more.
            pgtrigger.Trigger(
                name="key_of_a_private_row_is_keyed",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="added"),  # type: ignore[no-untyped-call]
                func="""
                    IF EXISTS (
                        SELECT FROM (
                            SELECT DISTINCT record_id FROM added
                            WHERE kind NOT IN ('near_key', 'held_key')
                        ) AS plain
                        JOIN datanets_record AS record ON record.id = plain.record_id
                        JOIN datanets_datanet AS datanet ON datanet.id = record.datanet_id
                        WHERE datanet.visibility = 'private'
                    ) THEN
                        RAISE EXCEPTION 'A key of a private row is stored keyed.'
                            USING ERRCODE = 'check_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} key of record {self.record_id}"

    @classmethod
    def stored(cls, kind: str, key: int, keyer: HashKeyer | None) -> tuple[str, int]:
        """Kind and key as they are stored, with what keys the hashes of the Datanet's rows."""
        if keyer is None:
            return kind, key
        return cls.KEYED[cls.Kind(kind)], keyer.number(key, kind)


class PersonalDatum(models.Model):
    """A place in an upload that looks like personal data, and what its contributor chose.

    Nothing of the upload is stored as a record while one of them is undecided. Only its contributor
    sees it; the text itself stays in the uploaded file, here is a mask.
    """

    class Choice(models.TextChoices):
        REDACT = "redact", "Replace it by its kind in brackets"
        KEEP = "keep", "Keep it, and say why"
        DROP = "drop", "Leave the row out"

    contribution = models.ForeignKey(
        Contribution, on_delete=models.CASCADE, related_name="personal_data"
    )
    position = models.PositiveIntegerField(help_text="Among the rows that were read, from 1.")
    row = models.PositiveIntegerField(help_text="Row in the file, counted from 1.")
    entry = models.CharField(max_length=200, blank=True)
    column = models.CharField(max_length=20)
    kind = models.CharField(max_length=20, choices=list(PERSONAL_DATA_KINDS.items()))
    start = models.PositiveIntegerField()
    masked = models.CharField(max_length=40, blank=True)
    choice = models.CharField(max_length=6, choices=Choice, blank=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["position", "column", "start"]
        constraints = [
            models.UniqueConstraint(
                fields=["contribution", "position", "column", "start", "kind"],
                name="personal_datum_is_asked_about_once",
            ),
            models.CheckConstraint(
                condition=~models.Q(choice="keep") | ~models.Q(reason=""),
                name="personal_datum_is_kept_with_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} in row {self.row}"
