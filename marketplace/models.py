"""Paid answers and their receipts."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from openledger_site.core.money import WeiField


class Inference(models.Model):
    """One paid answer: reserved → answered → settled, or failed with nothing charged.

    The text belongs to the consumer: only they (and the engine) read it.
    """

    class State(models.TextChoices):
        ANSWERING = "answering", "being answered"
        ANSWERED = "answered", "attribution pending"
        SETTLED = "settled"
        FAILED = "failed"

    class Channel(models.TextChoices):
        CHAT = "chat"
        API = "api", "API"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    consumer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="inferences"
    )
    model = models.ForeignKey(
        "modelfactory.Model", on_delete=models.PROTECT, related_name="inferences"
    )
    api_key = models.ForeignKey(
        "accounts.ApiKey", null=True, on_delete=models.SET_NULL, related_name="inferences"
    )
    channel = models.CharField(max_length=4, choices=Channel)
    idempotency_key = models.CharField(max_length=255, blank=True)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked.")
    state = models.CharField(max_length=9, choices=State, default=State.ANSWERING)
    # What was asked and answered.
    messages = models.JSONField(help_text="As the consumer sent them.")
    sampling = models.JSONField(default=dict)
    passages = models.JSONField(
        default=list, help_text="Records handed to the model: ids and hashes, never text."
    )
    answer = models.TextField(blank=True)
    prompt_ids = models.JSONField(default=list)
    response_ids = models.JSONField(default=list)
    finish_reason = models.CharField(max_length=10, blank=True)
    # What it cost.
    adapter_digest = models.CharField(max_length=64)
    hold = models.OneToOneField("rewards.Hold", on_delete=models.PROTECT, related_name="inference")
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    fee_wei = WeiField(default=0)
    job = models.ForeignKey("core.Job", null=True, on_delete=models.SET_NULL, related_name="+")
    error_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "idempotency_key"],
                condition=~models.Q(idempotency_key=""),
                name="inference_once_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=models.Q(fee_wei__gte=0), name="inference_fee_is_not_negative"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="settled") | models.Q(settled_at__isnull=False),
                name="inference_settled_has_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["consumer", "-id"], name="inference_of_consumer"),
            models.Index(fields=["model", "-id"], name="inference_of_model"),
            models.Index(
                fields=["created_at"],
                condition=models.Q(state="answering"),
                name="inference_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"answer {self.public_id} ({self.state})"

    @property
    def question(self) -> str:
        """What the person asked last."""
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return asked[-1] if asked else ""

    @property
    def settled(self) -> bool:
        return self.state == self.State.SETTLED

    @property
    def ended(self) -> bool:
        return self.state in (self.State.SETTLED, self.State.FAILED)


class Receipt(models.Model):
    """The signed statement of one answer: anyone who holds it can replay it. Never changed."""

    inference = models.OneToOneField(Inference, on_delete=models.PROTECT, related_name="receipt")
    body = models.JSONField()
    digest = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of the canonical body."
    )
    signature = models.CharField(max_length=128, help_text="Ed25519 over the digest, hex.")
    issued_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [
            pgtrigger.Protect(
                name="receipt_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"receipt {self.digest[:12]}"
