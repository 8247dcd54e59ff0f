"""Doors for Celery: ids in, one service each, safe to run twice."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command

from openledger_site.core import idempotency, jobs, outbox


@shared_task(name="core.run_job")
def run_job(job_id: str) -> None:
    jobs.run_job(job_id)


@shared_task(name="core.sweep_jobs", expires=5)
def sweep_jobs() -> None:
    jobs.sweep()


@shared_task(name="core.relay_outbox", expires=5)
def relay_outbox() -> None:
    outbox.relay()


@shared_task(name="core.forget_old_answers", expires=300)
def forget_old_answers() -> None:
    idempotency.forget_old_answers()


@shared_task(name="core.forget_sessions", expires=3_600)
def forget_sessions() -> None:
    call_command("clearsessions")
