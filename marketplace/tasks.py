from __future__ import annotations

from celery import shared_task

from marketplace import services


@shared_task(name="marketplace.sweep_answers", expires=60)
def sweep_answers() -> None:
    services.sweep_answers()
