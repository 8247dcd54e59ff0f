"""A contribution, its records, and what reviewers said about each."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pgtrigger
from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Now
from django.urls import reverse

from datanets.licences import licence_choices
from datanets.models.data_key import DataKey
from datanets.models.datanet import Datanet
from datanets.models.provenance import Provenance, provenance_constraints
from datanets.models.sealed import (
    KeyedHashField,
    SealedBinaryField,
    SealedJSONField,
    SealedTextField,
)
from openledger_site.core.models import Job


class Contribution(Provenance):
    """One submission by one contributor to one Datanet, holding records."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        PARSING = "parsing", "Being read"
        NEEDS_MAPPING = "needs_mapping", "Needs you: name the columns"
        NEEDS_DECISION = "needs_decision", "Needs your decision"
        IN_REVIEW = "in_review", "In review"
        DECIDED = "decided", "Decided"
        REJECTED = "rejected", "Could not be read"
        WITHDRAWN = "withdrawn", "Withdrawn"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    datanet = models.ForeignKey(Datanet, on_delete=models.CASCADE, related_name="contributions")
    contributor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="contributions"
    )
    title = models.CharField(max_length=120)
    # Shown only: never a path, never trusted.
    filename = models.CharField(max_length=120, blank=True)
    file_digest = SealedTextField()
    size_bytes = models.PositiveBigIntegerField()
    # False once the bytes are destroyed: withdrawn, refused, or holding data that was to go.
    file_kept = models.BooleanField(default=True)
    # Empty for a plain file: that of a public Datanet, or one from before there were keys.
    file_key = models.ForeignKey(
        DataKey, null=True, blank=True, on_delete=models.RESTRICT, related_name="contributions"
    )
    # Its contributor wants to see what the checks say before anybody else sees a row.
    look_first = models.BooleanField(default=False)
    decided_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=14, choices=State, default=State.RECEIVED)
    licence = models.CharField(max_length=60, choices=licence_choices)
    agreement_version = models.CharField(max_length=20)
    # Sealed: columns of a file without a header are named by its first row.
    mapping = SealedJSONField(default=dict, blank=True)
    rows_read = models.PositiveIntegerField(default=0)
    rows_accepted = models.PositiveIntegerField(default=0)
    rows_rejected = models.PositiveIntegerField(default=0)
    # Sealed: while columns have to be named, it holds the first rows to show.
    report = SealedJSONField(default=dict, blank=True)
    job = models.ForeignKey(Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Since when it waits for its contributor; the database keeps it, and empties it.
    undecided_since = models.DateTimeField(null=True, blank=True, editable=False)
    # When its contributor was last mailed that it will be deleted.
    reminded_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    sealed_through = "datanet"
    SEALED = ("file_digest", "mapping", "report")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(rows_read=models.F("rows_accepted") + models.F("rows_rejected")),
                name="contribution_accounts_for_every_row",
            ),
            models.CheckConstraint(
                condition=models.Q(file_kept=True) | models.Q(file_key__isnull=True),
                name="destroyed_file_has_no_key",
            ),
            *provenance_constraints(),
        ]
        indexes = [
            models.Index(
                fields=["undecided_since"],
                condition=models.Q(undecided_since__isnull=False),
                name="contribution_undecided",
            )
        ]
        triggers = [
            pgtrigger.Trigger(
                name="undecided_contribution_says_since_when",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func="""
                    IF NEW.state NOT IN ('needs_mapping', 'needs_decision') THEN
                        NEW.undecided_since = NULL;
                    ELSIF OLD IS NULL OR OLD.state <> NEW.state THEN
                        NEW.undecided_since = now();
                    ELSE
                        NEW.undecided_since = COALESCE(NEW.undecided_since, OLD.undecided_since);
                    END IF;
                    RETURN NEW;
                """,
            )
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("datanets:contribution-detail", args=[self.public_id])

    def sealed_place(self) -> str:
        return str(self.public_id)

    @property
    def stake_subject(self) -> str:
        """Names it as something to stake on."""
        return f"contribution:{self.public_id}"

    # Nobody but the contributor sees a contribution in these states.
    UNSENT = (State.RECEIVED, State.PARSING, State.NEEDS_MAPPING, State.NEEDS_DECISION)

    @property
    def waiting(self) -> bool:
        return self.state in (self.State.RECEIVED, self.State.PARSING)

    @property
    def expires_at(self) -> datetime | None:
        """When it is deleted, if its contributor decides nothing until then."""
        days = timedelta(days=settings.CONTRIBUTION_UNDECIDED_DAYS)
        return None if self.undecided_since is None else self.undecided_since + days


class RowWords(models.Func):
    """The words of a row, and one word for its Datanet; the function is made in a migration."""

    function = "datanets_row_words"
    output_field = SearchVectorField()

    def __init__(self, *columns: Any, **extra: Any) -> None:
        super().__init__(*(columns or WORD_COLUMNS), **extra)


WORD_COLUMNS = ("datanet", "instruction", "response", "rejected", "text", "messages")


def _viewer_indexes() -> list[models.Index]:
    """Accepted rows by arrival and by length, with all that filters ask in the index itself.

    A filter that nothing passes then reads a narrow index to its end instead of a million rows.
    """
    accepted = models.Q(state="approved")
    asked = ["contribution", "kind", "language", "flags"]
    return [
        models.Index(
            fields=["datanet", "id"], include=["characters", *asked], condition=accepted,
            name="record_rows",
        ),
        models.Index(
            fields=["datanet", "characters", "id"], include=asked, condition=accepted,
            name="record_rows_by_length",
        ),
        # Finds out in no time that no row has a language or a shape, which the others tell last.
        models.Index(
            fields=["datanet", "language", "kind", "id"], condition=accepted,
            name="record_rows_by_language",
        ),
        GinIndex(RowWords(), condition=accepted, name="record_words"),
        models.Index(
            fields=["datanet", "id"], condition=accepted & models.Q(is_sample=True),
            name="record_samples",
        ),
    ]  # fmt: skip


_SEALED_COLUMNS = ("instruction", "response", "rejected", "text", "messages", "wordings")
_KEYED_COLUMNS = ("content_hash", "fingerprint", "prompt_fingerprint")
_CONTENT_COLUMNS = ("kind", *_SEALED_COLUMNS)


class Record(models.Model):
    """One row. Its content never changes; only withdrawal empties it."""

    class Kind(models.TextChoices):
        INSTRUCTION = "instruction", "Question and answer"
        CHAT = "chat", "Conversation"
        PREFERENCE = "preference", "Preference pair"
        TEXT = "text", "Text"

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    contribution = models.ForeignKey(Contribution, on_delete=models.CASCADE, related_name="records")
    datanet = models.ForeignKey(Datanet, on_delete=models.CASCADE, related_name="records")
    position = models.PositiveIntegerField(help_text="Row in the file, counted from 1.")
    kind = models.CharField(max_length=11, choices=Kind)
    instruction = SealedTextField(blank=True)
    response = SealedTextField(blank=True)
    rejected = SealedTextField(blank=True)
    text = SealedTextField(blank=True)
    messages = SealedJSONField(default=list, blank=True)
    # Other ways to ask: "own" (the contributor's), "training" and "held_out" (made by rule).
    wordings = SealedJSONField(default=dict, blank=True)
    content_hash = KeyedHashField(max_length=64, db_index=True)
    fingerprint = KeyedHashField(max_length=64)
    prompt_fingerprint = KeyedHashField(max_length=64)
    # Sealed too: with it a leaf, which anybody may have, would tell whether a guess is right.
    salt = SealedBinaryField(max_length=32)
    state = models.CharField(max_length=9, choices=State, default=State.PENDING)
    # Pending, and only a curator decides: the votes are tied, one was unsure, or an appeal waits.
    escalated = models.BooleanField(default=False, db_default=False)
    duplicate_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="duplicates"
    )
    # The rules of its findings, each once: what the queue is filtered by.
    flags = models.JSONField(default=list, blank=True)
    # Of the whole text, and its language where the checks were sure: what the viewer sorts by.
    characters = models.PositiveIntegerField(default=0)
    language = models.CharField(max_length=3, blank=True)
    # Shown to everybody who sees the card of a restricted Datanet.
    is_sample = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    sealed_through = "datanet"

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["contribution", "position"], name="record_place_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(escalated=False) | models.Q(state="pending"),
                name="only_pending_rows_are_escalated",
            ),
        ]
        indexes = [
            models.Index(fields=["datanet", "state", "id"], name="record_queue"),
            models.Index(fields=["datanet", "fingerprint"], name="record_duplicates"),
            models.Index(fields=["datanet", "prompt_fingerprint"], name="record_same_prompt"),
            models.Index(fields=["fingerprint"], name="record_copies"),
            GinIndex(fields=["flags"], name="record_flags"),
            *_viewer_indexes(),
            models.Index(
                fields=["datanet", "id"],
                condition=models.Q(escalated=True),
                name="record_escalated",
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="record_content_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.content_hash IS DISTINCT FROM NEW.content_hash"
                    " OR OLD.contribution_id <> NEW.contribution_id"
                    " OR (OLD.state = 'withdrawn' AND NEW.state <> 'withdrawn')"
                    " OR (NEW.state <> 'withdrawn' AND (OLD.salt IS DISTINCT FROM NEW.salt OR "
                    + " OR ".join(
                        f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in _CONTENT_COLUMNS
                    )
                    + "))"
                ),
            ),
            # Instead of a foreign key (see `VersionRecord`); the function looks past row security.
            pgtrigger.Trigger(
                name="row_of_a_version_is_never_deleted",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete,
                func="""
                    PERFORM FROM datanets_datanet WHERE id = OLD.datanet_id FOR SHARE;
                    IF datanets_row_is_in_a_version(OLD.id) THEN
                        RAISE EXCEPTION 'A version holds this row.'
                            USING ERRCODE = 'foreign_key_violation';
                    END IF;
                    RETURN OLD;
                """,
            ),
            pgtrigger.Trigger(
                name="private_row_is_sealed",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert
                | pgtrigger.UpdateOf(*_SEALED_COLUMNS, *_KEYED_COLUMNS, "salt"),  # type: ignore[no-untyped-call]
                declare=[("mark", "text")],
                # Each text is empty or names the key of this Datanet's rows; JSON is in quotes.
                # Hashes and salts from before may stay until the command has been there.
                func="""
                    IF EXISTS (
                        SELECT FROM datanets_datanet
                        WHERE id = NEW.datanet_id AND visibility = 'private'
                    ) THEN
                        SELECT 'olseal1:' || replace(public_id::text, '-', '') || ':' INTO mark
                        FROM datanets_datakey WHERE datanet_id = NEW.datanet_id AND use = 'rows';
                        IF EXISTS (
                            SELECT FROM unnest(ARRAY[
                                NEW.instruction, NEW.response, NEW.rejected, NEW.text,
                                NEW.messages::text, NEW.wordings::text
                            ]) AS stored
                            WHERE stored NOT IN ('', '[]', '{}')
                            AND starts_with(ltrim(stored, '"'), mark) IS NOT TRUE
                        ) THEN
                            RAISE EXCEPTION 'A row of a private Datanet is stored sealed.'
                                USING ERRCODE = 'check_violation';
                        END IF;
                        IF octet_length(NEW.salt) > 0 AND NEW.salt IS DISTINCT FROM OLD.salt
                        AND substring(NEW.salt FROM 1 FOR octet_length(mark))
                            IS DISTINCT FROM convert_to(mark, 'UTF8') THEN
                            RAISE EXCEPTION 'The salt of a private row is stored sealed.'
                                USING ERRCODE = 'check_violation';
                        END IF;
                        IF EXISTS (
                            SELECT FROM unnest(
                                ARRAY[NEW.content_hash, NEW.fingerprint, NEW.prompt_fingerprint],
                                ARRAY[OLD.content_hash, OLD.fingerprint, OLD.prompt_fingerprint]
                            ) AS hash (stored, before)
                            WHERE stored <> '' AND stored IS DISTINCT FROM before
                            AND NOT starts_with(stored, 'keyed:')
                        ) THEN
                            RAISE EXCEPTION 'The hashes of a private row are stored keyed.'
                                USING ERRCODE = 'check_violation';
                        END IF;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"record {self.public_id}"

    def get_absolute_url(self) -> str:
        return reverse("datanets:record-detail", args=[self.public_id])

    def sealed_place(self) -> str:
        return str(self.public_id)


class Review(models.Model):
    """One vote on one record. Rows are only added: an undo is a row too.

    A reviewer's newest row on a record stands; with as many votes as the Datanet asks for, they
    decide.
    """

    class Verdict(models.TextChoices):
        APPROVE = "approve"
        REJECT = "reject"
        FLAG = "flag", "Left to a curator"
        UNDO = "undo"

    VOTES = (Verdict.APPROVE, Verdict.REJECT)

    class Reason(models.TextChoices):
        WRONG = "wrong", "The answer is wrong"
        UNCLEAR = "unclear", "The question is unclear"
        OFF_TOPIC = "off_topic", "Off topic"
        DUPLICATE = "duplicate", "Already covered"
        PERSONAL_DATA = "personal_data", "Holds personal data"
        LICENCE = "licence", "Not theirs to give"
        QUALITY = "quality", "Poorly written"

    record = models.ForeignKey(Record, on_delete=models.CASCADE, related_name="reviews")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="datanet_reviews"
    )
    # Decisions taken with one press are undone with one press.
    batch = models.UUIDField(db_index=True)
    verdict = models.CharField(max_length=7, choices=Verdict)
    reason = models.CharField(max_length=13, choices=Reason, blank=True)
    note = models.CharField(
        max_length=500,
        blank=True,
        help_text="Read by curators, and by the contributor once decided.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(verdict="reject") | ~models.Q(reason=""),
                name="rejection_says_why",
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="review_is_append_only", operation=pgtrigger.Update),
            pgtrigger.Trigger(
                name="nobody_reviews_their_own_rows",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF EXISTS (
                        SELECT 1 FROM datanets_record AS record
                        JOIN datanets_contribution AS contribution
                          ON contribution.id = record.contribution_id
                        WHERE record.id = NEW.record_id
                          AND contribution.contributor_id = NEW.reviewer_id
                    ) THEN
                        RAISE EXCEPTION 'nobody reviews their own rows'
                            USING ERRCODE = 'check_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} of record {self.record_id}"
