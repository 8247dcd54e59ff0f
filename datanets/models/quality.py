"""What keeps review honest: test rows with known answers, and appeals against a rejection."""

from __future__ import annotations

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
