"""The books of a day, closed: sums, and a digest chained to the day before."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from openledger_site.core.money import WeiField
from rewards.models.triggers import append_only

SUBJECT_PREFIX = "books:"


class DailyClosing(models.Model):
    """One day (UTC) of the ledger. Written once, when nothing can be added to the day any more."""

    day = models.DateField(unique=True)
    transactions = models.PositiveIntegerField()
    entries = models.PositiveIntegerField()
    moved_wei = WeiField(help_text="What changed accounts: all entries above zero.")
    balances_wei = models.JSONField(help_text="By kind of account, at the day's end; wei as text.")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256, see closings.py.")
    previous = models.OneToOneField(
        "self", null=True, on_delete=models.PROTECT, related_name="following"
    )
    closed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-day"]
        triggers = [append_only("daily_closing_is_append_only")]
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=Q(previous__isnull=True), name="one_first_closing"
            )
        ]

    def __str__(self) -> str:
        return f"books of {self.day}"

    def get_absolute_url(self) -> str:
        return reverse("rewards:closing-list") + f"#{self.day}"

    @property
    def subject(self) -> str:
        """What its digest is anchored under."""
        return f"{SUBJECT_PREFIX}{self.day}"
