"""Answers whose web process died in the middle: close them and give the money back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from marketplace.models import Inference
from rewards.services import void_hold

ABANDONED_AFTER = timedelta(minutes=10)


def sweep_answers() -> int:
    """Fail answers that have been under way for too long; returns how many."""
    abandoned = Inference.objects.filter(
        state=Inference.State.ANSWERING, created_at__lt=Now() - ABANDONED_AFTER
    )
    return each_locked(abandoned, 500, _abandon)


def _abandon(inference: Inference) -> None:
    void_hold(inference.hold)
    inference.state, inference.error_code = Inference.State.FAILED, "abandoned"
    inference.idempotency_key = ""  # nothing was answered: the key may be used again
    inference.save(update_fields=["state", "error_code", "idempotency_key"])


def each_locked(
    answers: QuerySet[Inference], most: int, change: Callable[[Inference], None]
) -> int:
    """Change answers one by one, each locked in a transaction of its own; returns how many.

    One that somebody else is at, or that is among them no more, is left.
    """
    changed = 0
    for pk in list(answers.order_by("created_at").values_list("pk", flat=True)[:most]):
        with transaction.atomic():
            locked = answers.select_for_update(of=("self",), skip_locked=True)
            inference = locked.select_related("hold", "consumer").filter(pk=pk).first()
            if inference is not None:
                change(inference)
                changed += 1
    return changed
