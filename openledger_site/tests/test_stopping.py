"""Whoever a job belongs to may stop it, unless somebody else is paid or protected by it."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.urls import reverse

from openledger_site.core.jobs import start_job
from openledger_site.core.models import Job

pytestmark = pytest.mark.django_db


def started(kind: str, owner) -> Job:
    with transaction.atomic():
        return start_job(kind, queue="ingest", subject="thing:1", owner=owner)


@pytest.mark.parametrize(
    "kind",
    [
        "marketplace.settle_answer",  # what makes the consumer pay
        "modelfactory.index",  # what pays contributors for a builder's model
        "modelfactory.follow_withdrawals",  # what takes withdrawn rows out of it
    ],
)
def test_nobody_stops_what_others_are_paid_or_protected_by(client, owner, kind):
    job = started(kind, owner)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.post(reverse("core:job-cancel", args=[job.pk]))
    job.refresh_from_db()
    assert (answer.status_code, job.state) == (403, "queued")
    assert b"Stop" not in client.get(reverse("core:job-progress", args=[job.pk])).content


def test_ones_own_training_can_be_stopped(client, owner):
    job = started("modelfactory.train", owner)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert b"Stop" in client.get(reverse("core:job-progress", args=[job.pk])).content
    client.post(reverse("core:job-cancel", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == "cancelled"
