"""What a person concerned says against a slash, for the arbiters to read inside its window."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from rewards.models.staking import SlashCase
from rewards.models.triggers import append_only


class SlashAppeal(models.Model):
    """One person's words against one slash. An arbiter decides, or its end."""

    class As(models.TextChoices):
        OWNER = "owner", "the owner"
        STAKER = "staker", "a staker"

    case = models.ForeignKey(SlashCase, on_delete=models.PROTECT, related_name="appeals")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="slash_appeals"
    )
    as_whom = models.CharField(max_length=6, choices=As)
    words = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        triggers = [append_only("slash_appeal_is_append_only")]
        constraints = [
            models.UniqueConstraint(fields=["case", "by"], name="slash_appeal_once_a_person")
        ]

    def __str__(self) -> str:
        return f"appeal against {self.case_id} by {self.as_whom}"
