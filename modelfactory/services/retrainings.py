"""Whose turn it is among a measurement's retrainings: a calibration's or a valuation's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.conf import settings

from modelfactory.models import CalibrationSubset, ValueRetraining
from openledger_site.accounts.models import User
from openledger_site.core.jobs import start_job
from openledger_site.core.models import Job


def unended(jobs: Iterable[Job | None]) -> list[Job]:
    """Those that wait or run."""
    return [job for job in jobs if job is not None and not job.ended]


def queue_turns(
    waiting: Sequence[CalibrationSubset] | Sequence[ValueRetraining],
    *,
    kind: str,
    subject: str,
    id_name: str,
    owner: User,
    again: bool,
) -> bool:
    """Queue as many of the retrainings not done as may go on at once; true if any was queued.

    Needs the lock on their measurement. A job of `kind` is about `subject` and the position, and
    finds its row by `id_name` in the payload. `again` also takes up what failed or was stopped:
    only a person asks for that, or one bad retraining would be tried by every job that ends.
    """
    going = unended(one.job for one in waiting)
    free = max(1, settings.CALIBRATION_PARALLEL) - len(going)
    idle = [one for one in waiting if one.job is None or (again and one.job.ended)]
    chosen = idle[: max(0, free)]
    for one in chosen:
        one.job = start_job(
            kind,
            queue="ml",
            subject=f"{subject}:{one.position}",
            owner=owner,
            payload={id_name: one.pk},
        )
        one.save(update_fields=["job"])
    return bool(chosen)
