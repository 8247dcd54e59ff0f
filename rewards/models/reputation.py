"""Reputation as last measured, and the token that shows it elsewhere."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from rewards.models.chain import ChainTransaction
from rewards.reputation import SCORE_MAX


class Reputation(models.Model):
    """What `rewards/reputation.py` says of one person; made again by the clock from the books."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reputation"
    )
    score = models.PositiveSmallIntegerField()
    formula = models.PositiveSmallIntegerField()
    payers = models.PositiveIntegerField(help_text="Other people who paid for moved answers.")
    voices = models.FloatField()
    rejections = models.FloatField()
    faults = models.FloatField()
    measured_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(score__lte=SCORE_MAX), name="reputation_is_below_a_thousand"
            )
        ]
        indexes = [models.Index(fields=["-score"], name="reputation_by_score")]

    def __str__(self) -> str:
        return f"reputation {self.score} of person {self.user_id}"


class ReputationIssue(models.Model):
    """One writing of a reputation to its soulbound token (ERC-5192), or its revocation."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="reputation_issues"
    )
    address = models.CharField(max_length=42, help_text="The wallet that holds the token.")
    # Empty: the token was taken back.
    score = models.PositiveSmallIntegerField(null=True)
    formula = models.PositiveSmallIntegerField()
    measured_at = models.DateTimeField()
    chain_transaction = models.OneToOneField(
        ChainTransaction, on_delete=models.PROTECT, related_name="reputation_issue"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["user", "-id"], name="reputation_issue_of_user")]

    def __str__(self) -> str:
        return f"reputation {self.score} for {self.address}"
