"""Answers that were delivered and never settled, because their job ended without doing it.

A job ends so when its worker died five times over it, or when somebody stopped it before that was
refused. Nobody would be paid, and what is held for the answer would stay held.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from marketplace.models import Inference
from marketplace.services.sweep_answers import each_locked
from openledger_site.core.jobs import start_job
from openledger_site.core.models import Job
from rewards.models import Hold

SETTLE_JOB = "marketplace.settle_answer"
AGAIN_AFTER = timedelta(minutes=10)
AT_ONCE = 100


def queue_settling(inference: Inference, *, unattributed: bool = False) -> Job:
    """The job that attributes and settles an answer; `unattributed` pays by the base rule at once.

    Call in the transaction that also saves `inference.job`.
    """
    return start_job(
        SETTLE_JOB,
        queue="attribution",
        subject=f"answer:{inference.public_id}",
        owner=inference.consumer,
        payload={"inference_id": inference.pk, "unattributed": unattributed},
    )


def settle_again() -> int:
    """Queue their settling anew; returns how many. Attribution is tried in one more job, then the
    contributors' part goes to their reserve. What is not held any more can no longer be charged.
    """
    ended = Q(job__isnull=True) | Q(job__state__in=Job.ENDED, job__ended_at__lt=Now() - AGAIN_AFTER)
    left = Inference.objects.filter(ended, state=Inference.State.ANSWERED)
    return each_locked(left, AT_ONCE, _queue_or_end)


def _queue_or_end(inference: Inference) -> None:
    if inference.hold.state != Hold.State.PENDING:
        inference.state, inference.error_code = Inference.State.FAILED, "never_settled"
        inference.save(update_fields=["state", "error_code"])
        return
    subject = f"answer:{inference.public_id}"
    before = Job.objects.filter(kind=SETTLE_JOB, subject=subject).count()
    inference.job = queue_settling(inference, unattributed=before > 1)
    inference.save(update_fields=["job"])
