"""Rows that every app leans on: jobs, the outbox, the audit log, answered requests."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Job(models.Model):
    """Work that outlives a request. This row is the truth; a broker message is only a wake-up.

    `attempt` is the fencing token: every write by a worker names the attempt it holds, so one that
    slept past its lease cannot write over the one that took over.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    UNFINISHED = (State.QUEUED, State.RUNNING)
    ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=80)
    queue = models.CharField(max_length=20)
    subject = models.CharField(max_length=120, help_text="What the job is about: ids, never text.")
    payload = models.JSONField(default=dict)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="jobs"
    )
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    attempts_max = models.PositiveIntegerField(default=5)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    wake_after = models.DateTimeField(db_default=Now())
    woken_at = models.DateTimeField(null=True, help_text="When a wake-up was last sent.")
    cancel_requested = models.BooleanField(default=False)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Thousandths of the work.")
    message = models.CharField(max_length=200, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(progress__lte=1000), name="job_progress_is_in_thousandths"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="running") | models.Q(lease_until__isnull=False),
                name="job_running_has_a_lease",
            ),
            # One unfinished job of a kind about a thing: asking twice cannot start it twice.
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=models.Q(state__in=["queued", "running"]),
                name="job_unfinished_once_per_subject",
            ),
        ]
        indexes = [models.Index(fields=["state", "lease_until"], name="job_sweep")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} ({self.state})"

    @property
    def ended(self) -> bool:
        return self.state in self.ENDED

    @property
    def percent(self) -> float:
        return self.progress / 10


class JobEvent(models.Model):
    """One thing a job reported, in order. Pages replay these; they hold numbers, never text."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    attempt = models.PositiveIntegerField()
    kind = models.CharField(max_length=40)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["job", "id"], name="jobevent_replay")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.job_id}"


class OutboxMessage(models.Model):
    """A Celery task to send, written in the transaction that made it necessary."""

    id = models.BigAutoField(primary_key=True)
    task = models.CharField(max_length=80)
    queue = models.CharField(max_length=20)
    arguments = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"], condition=models.Q(sent_at__isnull=True), name="outbox_unsent"
            )
        ]

    def __str__(self) -> str:
        return f"{self.task} to {self.queue}"


class AuditEntry(models.Model):
    """Who did what to which thing. Each row holds the hash of the one before it.

    `hash` = SHA-256 of the canonical JSON of (number, previous_hash, at, actor, action, subject,
    data); see `audit.py`. The database refuses changes; `manage.py verify_audit` finds any made
    behind its back.
    """

    number = models.BigIntegerField(primary_key=True)
    at = models.CharField(max_length=32, help_text="UTC, ISO 8601, as it was hashed.")
    actor = models.CharField(max_length=80)
    action = models.CharField(max_length=80)
    subject = models.CharField(max_length=120)
    data = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        triggers = [
            pgtrigger.Protect(
                name="audit_is_append_only", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]
        indexes = [models.Index(fields=["subject"], name="audit_by_subject")]

    def __str__(self) -> str:
        return f"{self.number} {self.actor} {self.action} {self.subject}"


class AnsweredRequest(models.Model):
    """The stored answer to a POST with an `Idempotency-Key`, written with its effects. Headers and
    body go after a while; the key stays, so that nothing is ever done twice."""

    id = models.BigAutoField(primary_key=True)
    principal = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Keyed hash of method, path and body.")
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["principal", "key"], name="request_key_answered_once")
        ]
        indexes = [
            models.Index(
                fields=["created_at"], condition=~Q(headers={}), name="request_answers_kept"
            )
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.key}"
