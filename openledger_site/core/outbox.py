"""Messages leave through a row written in the same transaction as their cause.

A crash between COMMIT and the broker then loses nothing: `relay` sends what is still unsent.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import current_app
from django.db import transaction
from django.db.models.functions import Now

from openledger_site.core.models import OutboxMessage

logger = logging.getLogger(__name__)


def send_on_commit(task: str, *, queue: str, **arguments: Any) -> None:
    """Queue the Celery task called `task` when the current transaction commits.

    Arguments are ids. An unknown task name fails here, not in production.
    """
    _ = current_app.tasks[task]
    message = OutboxMessage.objects.create(task=task, queue=queue, arguments=arguments)
    transaction.on_commit(lambda: _send_now(message.pk), robust=True)


def relay(limit: int = 500) -> int:
    """Send every message that is still unsent; return how many left."""
    sent = 0
    with transaction.atomic():
        waiting = OutboxMessage.objects.select_for_update(skip_locked=True).filter(
            sent_at__isnull=True
        )
        for message in waiting.order_by("id")[:limit]:
            _publish(message)
            sent += 1
    return sent


def _send_now(message_id: int) -> None:
    with transaction.atomic():
        message = (
            OutboxMessage.objects.select_for_update(skip_locked=True)
            .filter(pk=message_id, sent_at__isnull=True)
            .first()
        )
        if message is not None:
            _publish(message)


def _publish(message: OutboxMessage) -> None:
    current_app.send_task(
        message.task, kwargs=message.arguments, queue=message.queue, ignore_result=True
    )
    OutboxMessage.objects.filter(pk=message.pk).update(sent_at=Now())
