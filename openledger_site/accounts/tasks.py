from __future__ import annotations

from celery import shared_task

from openledger_site.accounts import services


@shared_task(name="accounts.mail_about_wallet")
def mail_about_wallet(wallet_id: int) -> None:
    services.mail_about_wallet(wallet_id)
