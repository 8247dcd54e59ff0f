"""An agent taken down by staff: why, what its maker answered, and how it ended."""

from __future__ import annotations

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from openledger_site.core.errors import NotAllowed


class AgentTakenDown(NotAllowed):
    code = "agent_taken_down"


class AgentTakedown(models.Model):
    """From `taken_at` to `ended_at` the agent answers nobody. Its maker may appeal once."""

    class Reason(models.TextChoices):
        UNLAWFUL = "unlawful", "It breaks the law"
        HARMFUL = "harmful", "It harms people or sets out to deceive them"
        POSES = "poses", "It passes itself off as somebody else"
        LEAKS = "leaks", "It gives away personal data or secrets"
        SPAM = "spam", "It is spam"

    agent = models.ForeignKey(
        "marketplace.Agent", on_delete=models.PROTECT, related_name="takedowns"
    )
    reason = models.CharField(max_length=8, choices=Reason)
    words = models.CharField(max_length=500, blank=True, help_text="For its maker and the staff.")
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="agents_taken_down"
    )
    taken_at = models.DateTimeField(db_default=Now())
    appeal_words = models.TextField(blank=True)
    appealed_at = models.DateTimeField(null=True)
    answer_words = models.CharField(max_length=500, blank=True)
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="takedowns_answered",
    )
    answered_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True, help_text="Brought back by the staff.")

    class Meta:
        ordering = ["-taken_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent"],
                condition=Q(ended_at__isnull=True),
                name="agent_is_taken_down_once_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(answered_at__isnull=True, answered_by__isnull=True)
                | Q(answered_at__isnull=False, answered_by__isnull=False),
                name="takedown_answered_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(answered_at__isnull=False),
                name="takedown_ends_by_an_answer",
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="takedown_is_kept", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="takedown_keeps_its_reason",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("agent", "reason", "words", "taken_by", "taken_at"),
            ),
            pgtrigger.Protect(
                name="takedown_ends_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__ended_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent_id}: {self.reason}"

    @property
    def may_appeal(self) -> bool:
        return self.ended_at is None and self.appealed_at is None

    @property
    def refusal(self) -> AgentTakenDown:
        """What whoever asks the agent is told."""
        return AgentTakenDown(
            f"The staff took this agent down: {self.get_reason_display().lower()}."
            " You were not charged. Ask its model, or another agent.",
            where="model",
        )
