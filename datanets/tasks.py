"""Doors for Celery: ids in, one service each, safe to run twice."""

from __future__ import annotations

from celery import shared_task

from datanets import services


@shared_task(name="datanets.mail_about_grant")
def mail_about_grant(grant_id: int, state: str) -> None:
    services.mail_about_grant(grant_id, state)


@shared_task(name="datanets.mail_about_undecided")
def mail_about_undecided(contribution_id: int) -> None:
    services.mail_about_undecided(contribution_id)


@shared_task(name="datanets.remind_undecided", expires=60)
def remind_undecided() -> None:
    services.remind_undecided()


@shared_task(name="datanets.expire_uploads", expires=60)
def expire_uploads() -> None:
    services.expire_uploads()


@shared_task(name="datanets.expire_undecided", expires=60)
def expire_undecided() -> None:
    services.expire_undecided()
