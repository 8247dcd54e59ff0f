"""Answers whose web process died in the middle: close them and give the money back."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from marketplace.models import Inference
from rewards.services import void_hold

ABANDONED_AFTER = timedelta(minutes=10)


def sweep_answers() -> int:
    """Fail answers that have been under way for too long; returns how many."""
    swept = 0
    abandoned = Inference.objects.filter(
        state=Inference.State.ANSWERING, created_at__lt=Now() - ABANDONED_AFTER
    )
    for inference_id in abandoned.values_list("pk", flat=True)[:500]:
        with transaction.atomic():
            inference = (
                Inference.objects.select_for_update(of=("self",), skip_locked=True)
                .select_related("hold")
                .filter(pk=inference_id, state=Inference.State.ANSWERING)
                .first()
            )
            if inference is None:
                continue
            void_hold(inference.hold)
            inference.state, inference.error_code = Inference.State.FAILED, "abandoned"
            inference.idempotency_key = ""  # nothing was answered: the key may be used again
            inference.save(update_fields=["state", "error_code", "idempotency_key"])
            swept += 1
    return swept
