"""Asking for the fee of an answer back, and what was decided."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from rewards.models.settlements import Settlement
from rewards.models.triggers import never_deleted


class RefundRequest(models.Model):
    """The payer of one answer wants its fee back: once per answer, within its refund window.

    The earnings stay in holding until `decide_by`. What was asked never changes, and the decision
    is written once: the database refuses both.
    """

    class Reason(models.TextChoices):
        BROKEN = "broken", "It stopped with an error"
        EMPTY = "empty", "It says nothing"
        UNUSABLE = "unusable", "It cannot be used"

    class State(models.TextChoices):
        OPEN = "open"
        GRANTED = "granted"
        REFUSED = "refused"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    settlement = models.OneToOneField(
        Settlement, on_delete=models.PROTECT, related_name="refund_request"
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="refund_requests"
    )
    reason = models.CharField(max_length=8, choices=Reason)
    words = models.TextField(blank=True, help_text="The payer's own words, for the staff.")
    state = models.CharField(max_length=7, choices=State, default=State.OPEN)
    decide_by = models.DateTimeField(help_text="Undecided until then: the earnings are released.")
    created_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="refunds_decided",
        help_text="Empty when a rule decided.",
    )
    decision_words = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="open", decided_at__isnull=True, decided_by__isnull=True)
                | (~Q(state="open") & Q(decided_at__isnull=False)),
                name="refund_request_decided_at_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["asked_by", "-created_at"], name="refund_request_by_person"),
            models.Index(fields=["state", "decide_by"], name="refund_request_queue"),
        ]
        triggers = [
            never_deleted("refund_request_is_kept"),
            pgtrigger.Protect(
                name="refund_request_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    "settlement", "asked_by", "reason", "words", "decide_by"
                ),
            ),
            pgtrigger.Protect(
                name="refund_request_is_decided_once",
                operation=pgtrigger.Update,
                condition=~pgtrigger.Q(old__state="open"),
            ),
        ]

    def __str__(self) -> str:
        return f"refund of {self.settlement_id} ({self.state})"

    @property
    def waiting(self) -> bool:
        """Still to be decided, and in time."""
        return self.state == self.State.OPEN and self.decide_by > timezone.now()

    @property
    def lapsed(self) -> bool:
        """Nobody decided in time: the earnings were released, which is a refusal."""
        return self.state == self.State.OPEN and not self.waiting
