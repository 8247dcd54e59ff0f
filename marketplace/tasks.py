from __future__ import annotations

from celery import shared_task

from marketplace import services


@shared_task(name="marketplace.mail_spending_alert")
def mail_spending_alert(cap_id: int) -> None:
    services.mail_spending_alert(cap_id)


@shared_task(name="marketplace.mail_about_takedown")
def mail_about_takedown(takedown_id: int) -> None:
    services.mail_about_takedown(takedown_id)


@shared_task(name="marketplace.sweep_answers", expires=60)
def sweep_answers() -> None:
    services.sweep_answers()
    services.settle_again()
