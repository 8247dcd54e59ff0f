"""What keeps review honest: test rows with known answers, appeals, and second looks at rows."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from datanets.models.contribution import Record, Review


class GoldRow(models.Model):
    """A decided row that reviewers meet in their queue as if it were new."""

    record = models.OneToOneField(Record, on_delete=models.CASCADE, related_name="gold")
    expected = models.CharField(max_length=7, choices=[(vote, vote.label) for vote in Review.VOTES])
    explanation = models.CharField(
        max_length=500, help_text="Shown to a reviewer right after they answered."
    )
    retired = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"test row {self.record_id}: {self.expected}"


class GoldAnswer(models.Model):
    """What a reviewer said about a test row; it decides nothing."""

    gold = models.ForeignKey(GoldRow, on_delete=models.CASCADE, related_name="answers")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    verdict = models.CharField(max_length=7, choices=Review.Verdict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["gold", "reviewer"], name="test_row_answered_once"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} of test row {self.gold_id}"


class Appeal(models.Model):
    """A contributor's objection to a rejection: once a row, decided by a curator."""

    record = models.OneToOneField(Record, on_delete=models.CASCADE, related_name="appeal")
    text = models.CharField(max_length=1_000)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"appeal about record {self.record_id}"


class SecondLook(models.Model):
    """A reason to look at an approved row again. A curator keeps the row or takes it out."""

    class Source(models.TextChoices):
        EVALUATION = "evaluation", "A model that learnt it answers its question wrongly"
        DISPUTE = "dispute", "Its part in an answer was disputed"
        READER = "reader", "A reader doubts it"

    class Outcome(models.TextChoices):
        KEPT = "kept"
        TAKEN_OUT = "taken_out", "Taken out"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    record = models.ForeignKey(Record, on_delete=models.CASCADE, related_name="second_looks")
    source = models.CharField(max_length=10, choices=Source)
    note = models.CharField(max_length=300)
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    outcome = models.CharField(max_length=9, choices=Outcome, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["record", "source", "opened_by"],
                condition=models.Q(outcome=""),
                name="second_look_open_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="", closed_at__isnull=True)
                | (~models.Q(outcome="") & models.Q(closed_at__isnull=False)),
                name="second_look_closed_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"second look at record {self.record_id}"
