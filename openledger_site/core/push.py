"""Hints to open pages: "something about this changed, look at the rows again".

A hint carries no content, so losing one costs a moment and leaking one tells nothing. Pages also
poll, so they are right without Redis, across processes and after a reload.
"""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)


def hint(group: str) -> None:
    """Tell pages that follow `group`, once the current transaction commits."""
    transaction.on_commit(lambda: _send(group), robust=True)


def _send(group: str) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(group, {"type": "changed"})
    except Exception as problem:  # a dead Redis must not fail the work that was done
        logger.warning("no hint sent group=%s problem=%s", group, type(problem).__name__)
