"""Start measuring how well attribution predicts retraining, and keep its jobs coming.

One chain of jobs: a retraining queues the next one in the transaction that marks it done, and the
last one queues the fit. A model's retrainings never stand in the queue together, so other people's
runs go in between. Nothing is planned ahead that a crash could lose.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.http import Http404

from datanets.selectors import TrainingRow, training_rows, version_for_training
from modelfactory.models import Calibration, CalibrationSubset, Model, Run, Valuation
from modelfactory.selectors import can_be_calibrated, index_of
from modelfactory.services.retrainings import queue_turns, unended
from modelfactory.services.training_files import (
    are_learnt,
    examples_digest,
    examples_of,
    row_examples,
)
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from openledger_site.core.jobs import JobFailed, cancel_job, start_job
from openledger_site.core.models import Job

SUBSET_JOB = "modelfactory.calibrate_subset"
FIT_JOB = "modelfactory.calibrate"
START_SECONDS = 7.0
"""Loading torch and the base, once a retraining; as `training.recipe.estimate_seconds` has it."""


class NothingToMeasure(Conflict):
    code = "nothing_to_measure"
    message = "This cannot be measured: there is no index of its rows, or there are too few rows."


class StillStopping(Conflict):
    code = "still_stopping"
    message = "The retraining that is going still saves its work. Try again in a few seconds."


def start_calibration(model: Model, *, actor: Any) -> Calibration:
    """Measure the attribution of `model`'s adapter, or go on where measuring stopped.

    Doing it again while it goes on, or once it is done, changes nothing. Models with equal adapters
    share the measurement. Raises `NothingToMeasure`, and `StillStopping` right after a stop.
    """
    with transaction.atomic():
        index = index_of(model.adapter_digest)
        if index is None or not can_be_calibrated(index):
            raise NothingToMeasure()
        calibration, created = Calibration.objects.get_or_create(
            index=index, defaults=_plan(index.run)
        )
        calibration = locked(calibration)
        if any(job.cancel_requested for job in _unended_jobs(calibration)):
            raise StillStopping()
        Calibration.objects.filter(pk=calibration.pk).update(stopped_at=None)
        calibration.stopped_at = None
        if created:
            CalibrationSubset.objects.bulk_create(
                CalibrationSubset(calibration=calibration, position=position)
                for position in range(calibration.subset_count)
            )
        if queue_work(calibration, again=True):
            record_audit(
                "calibration.started" if created else "calibration.resumed",
                actor=actor,
                subject=f"adapter:{model.adapter_digest}",
                subsets=calibration.subset_count,
                seed=calibration.seed,
            )
    return calibration


def stop_calibration(model: Model, *, actor: Any) -> None:
    """Stop measuring: no further job is queued, and the one that is going saves and ends.

    What is done stays, and `start_calibration` goes on from there. Doing it again, or with nothing
    to stop, changes nothing. Call it outside a transaction: a retraining that ends locks its job
    and then the calibration, so the two are never held together here.
    """
    with transaction.atomic():
        found = Calibration.objects.filter(index__adapter_digest=model.adapter_digest).first()
        if found is None or found.ready_at is not None:
            return
        calibration = locked(found)
        going = _unended_jobs(calibration)
        if calibration.stopped_at is None and calibration.ready_at is None:
            Calibration.objects.filter(pk=calibration.pk).update(stopped_at=Now())
            record_audit(
                "calibration.stopped",
                actor=actor,
                subject=f"adapter:{model.adapter_digest}",
                done=calibration.subsets.filter(done_at__isnull=False).count(),
            )
    for job in going:
        cancel_job(job)


def _unended_jobs(calibration: Calibration) -> list[Job]:
    """The retrainings and the fit that wait or run; an index is not ours to stop."""
    subsets = calibration.subsets.filter(done_at=None).select_related("job")
    return unended([*(subset.job for subset in subsets), calibration.job])


def _plan(run: Run) -> dict[str, Any]:
    """The rows are the ones the run learnt from; an older run did not write down which."""
    learnt = run.rows_digest or examples_digest(examples_of(run.version))
    return {
        "subset_count": settings.CALIBRATION_SUBSETS,
        "seed": run.seed,
        "rows_digest": learnt,
    }


def locked(calibration: Calibration) -> Calibration:
    """The row, held until the transaction ends, so that two ends of jobs queue one next job."""
    related = ("job", "index__job", "index__run__builder")
    rows = Calibration.objects.select_for_update(of=("self",)).select_related(*related)
    return rows.get(pk=calibration.pk)


def queue_work(calibration: Calibration, *, again: bool = False) -> bool:
    """Queue the retrainings whose turn it is, or the fit; true if anything was queued.

    Needs the calibration `locked`. Nothing is queued once its owner stopped it. `again` as in
    `queue_turns`.
    """
    if calibration.stopped_at is not None:
        return False
    waiting = list(calibration.subsets.filter(done_at=None).select_related("job"))
    if not waiting:
        return queue_fit(calibration)
    return queue_turns(
        waiting,
        kind=SUBSET_JOB,
        subject=f"calibration:{calibration.pk}",
        id_name="subset_id",
        owner=calibration.index.run.builder,
        again=again,
    )


def queue_fit(calibration: Calibration) -> bool:
    """Queue the fit once all retrainings are done and the index is there; whichever comes last."""
    going = calibration.job is not None and not calibration.job.ended
    unfinished = calibration.subsets.filter(done_at=None).exists()
    ended = calibration.stopped_at or calibration.ready_at
    if going or unfinished or ended or calibration.index.ready_at is None:
        return False
    calibration.job = start_job(
        FIT_JOB,
        queue="attribution",
        subject=f"adapter:{calibration.index.adapter_digest}",
        owner=calibration.index.run.builder,
        payload={"calibration_id": calibration.pk},
    )
    calibration.save(update_fields=["job"])
    return True


def rows_of(calibration: Calibration | Valuation) -> list[TrainingRow]:
    """The rows that the run learnt from, all of them.

    Raises `JobFailed` when a row was withdrawn since, for then no retraining may read it and none
    can be compared with the model; also when the builder's right to train has ended.
    """
    run = calibration.index.run
    try:
        version = version_for_training(run.builder, run.version.public_id)
    except Http404 as ended:
        raise JobFailed(
            "Its owner may no longer train on this data, so no half of it can be trained on again.",
            code="no_right_to_train",
        ) from ended
    rows = list(training_rows(version))
    examples: Iterable[dict[str, str]] = (row for each in rows for row in row_examples(each))
    if not are_learnt(version, calibration.rows_digest, examples):
        raise rows_changed()
    return rows


def rows_changed() -> JobFailed:
    return JobFailed(
        "Rows were withdrawn since this model was trained. A model trained now could not be "
        "compared with it: train and publish a new one.",
        code="rows_changed",
    )


def seconds_left(run: Run, retrainings: int) -> float | None:
    """How long so many retrainings take on half of the run's rows; None when it was not timed."""
    trained = run.metrics.get("seconds")
    return None if trained is None else retrainings * (START_SECONDS + float(trained) / 2)
