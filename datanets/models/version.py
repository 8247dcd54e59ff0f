"""A version: an immutable snapshot of a Datanet's approved records."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.urls import reverse

from datanets.models.contribution import Record
from datanets.models.datanet import Datanet
from datanets.models.sealed import SealedJSONField


class Version(models.Model):
    """Manifest in the content store, Merkle root anchored on chain, split frozen."""

    class State(models.TextChoices):
        ACTIVE = "active"
        RETIRED = "retired"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    datanet = models.ForeignKey(Datanet, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=7, choices=State, default=State.ACTIVE)
    manifest_digest = models.CharField(max_length=64)
    merkle_root = models.CharField(max_length=64, help_text="32 bytes as hex.")
    record_count = models.PositiveIntegerField()
    train_count = models.PositiveIntegerField()
    held_out_percent = models.PositiveSmallIntegerField(default=0)
    anchor = models.ForeignKey(
        "rewards.Anchor", null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["datanet", "number"], name="version_number_is_unique"),
            models.CheckConstraint(
                condition=models.Q(train_count__gte=1, train_count__lte=models.F("record_count")),
                name="version_has_something_to_train_on",
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="version_is_never_deleted", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="version_never_changes",
                operation=pgtrigger.Update,
                # All but state and anchor, which follow the owner and the chain.
                condition=pgtrigger.Condition(
                    "ROW(OLD.public_id, OLD.datanet_id, OLD.number, OLD.manifest_digest,"
                    " OLD.merkle_root, OLD.record_count, OLD.train_count, OLD.held_out_percent,"
                    " OLD.created_by_id, OLD.note) IS DISTINCT FROM"
                    " ROW(NEW.public_id, NEW.datanet_id, NEW.number, NEW.manifest_digest,"
                    " NEW.merkle_root, NEW.record_count, NEW.train_count, NEW.held_out_percent,"
                    " NEW.created_by_id, NEW.note)"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("datanets:version-detail", args=[self.public_id])

    @property
    def title(self) -> str:
        return f"Version {self.number}"

    @property
    def held_out_count(self) -> int:
        return self.record_count - self.train_count


class VersionRecord(models.Model):
    """One record's place in a version. `held_out_wordings` are the questions never trained on."""

    class Split(models.TextChoices):
        TRAIN = "train"
        HELD_OUT = "held_out"

    # That both exist is looked up for a whole statement (below) and guarded where rows are deleted:
    # a foreign key looks up and locks a row a row, half of the server's time for a version.
    version = models.ForeignKey(
        Version, on_delete=models.PROTECT, related_name="entries",
        db_constraint=False, db_index=False,
    )  # fmt: skip
    record = models.ForeignKey(
        Record, on_delete=models.PROTECT, related_name="version_entries",
        db_constraint=False, db_index=False,
    )  # fmt: skip
    position = models.PositiveIntegerField(help_text="Leaf of the Merkle tree, counted from 0.")
    leaf_hash = models.CharField(max_length=64)
    split = models.CharField(max_length=8, choices=Split)
    held_out_wordings = SealedJSONField(default=list)

    sealed_through = "version__datanet"

    class Meta:
        ordering = ["position"]
        constraints = [
            # Each is also the index that its first column is looked up by.
            models.UniqueConstraint(fields=["record", "version"], name="record_once_per_version"),
            models.UniqueConstraint(fields=["version", "position"], name="leaf_place_is_unique"),
        ]
        triggers = [
            pgtrigger.Protect(name="version_entry_is_append_only", operation=pgtrigger.Delete),
            # The lock is the one of whoever cuts, and holds back whoever deletes a record.
            pgtrigger.Trigger(
                name="version_entry_names_a_row_of_its_datanet",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="added"),  # type: ignore[no-untyped-call]
                func="""
                    PERFORM FROM datanets_datanet WHERE id IN (
                        SELECT datanet_id FROM datanets_version
                        WHERE id IN (SELECT version_id FROM added)
                    ) FOR NO KEY UPDATE;
                    IF EXISTS (
                        SELECT FROM added WHERE (
                            SELECT datanet_id FROM datanets_record WHERE id = added.record_id
                        ) IS DISTINCT FROM (
                            SELECT datanet_id FROM datanets_version WHERE id = added.version_id
                        ) OR NOT EXISTS (
                            SELECT FROM datanets_version WHERE id = added.version_id
                        )
                    ) THEN
                        RAISE EXCEPTION 'A version holds rows of its Datanet.'
                            USING ERRCODE = 'foreign_key_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
            # Withdrawal empties wordings; nothing else may change.
            pgtrigger.Protect(
                name="version_entry_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "ROW(OLD.version_id, OLD.record_id, OLD.position, OLD.leaf_hash, OLD.split)"
                    " IS DISTINCT FROM"
                    " ROW(NEW.version_id, NEW.record_id, NEW.position, NEW.leaf_hash, NEW.split)"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"leaf {self.position} of version {self.version_id}"

    def sealed_place(self) -> str:
        return self.place_in(self.version_id, self.position)

    @staticmethod
    def place_in(version_id: int, position: int) -> str:
        return f"{version_id}/{position}"


class VersionSummary(models.Model):
    """How many rows of a version there are of each kind, so that no page counts a million.

    `counts` is `datanets.facets.Counts` as JSON, made when the version is cut. A withdrawal takes
    its rows out again in its own transaction; nothing else changes it.
    """

    version = models.OneToOneField(
        Version, on_delete=models.CASCADE, related_name="summary", primary_key=True
    )
    counts = models.JSONField()

    def __str__(self) -> str:
        return f"summary of version {self.version_id}"
