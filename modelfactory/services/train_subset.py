"""Retrain an adapter on half of its records under a lease, then queue the next half."""

from __future__ import annotations

import json
import time
from pathlib import Path

from django.db.models import F
from django.db.models.functions import Now

from modelfactory.attribution.subsets import half_subsets
from modelfactory.models import Calibration, CalibrationSubset
from modelfactory.services.adapters import keep_adapter
from modelfactory.services.calibrate_model import locked, queue_work, rows_of
from modelfactory.services.child import Event
from modelfactory.services.train_run import check_right, refusal, train_in_child
from modelfactory.services.training_files import (
    private_folder,
    remove_folder,
    remove_private_text,
    row_examples,
    write_lines,
    write_recipe,
)
from openledger_site.core.jobs import JobFailed, Lease, LeaseLost

REPORT_SECONDS = 1.0


def train_subset(lease: Lease, subset: CalibrationSubset) -> None:
    """Repeat the run's recipe on this subset's records. Safe to run twice.

    Like a run it resumes from its newest checkpoint, and the rows' text is off the disk whenever
    this function is left alive. After a refusal nothing stays: no attempt will go on from there.
    """
    if subset.done_at is not None:
        return
    folder = private_folder(f"calibration-{subset.calibration_id}-{subset.position}")
    try:
        _write_files(subset, folder)
        if not (folder / "result.json").is_file():
            lease.report("preparing", progress=10, message="Training again on half of the rows")
            run = subset.calibration.index.run
            train_in_child(lease, folder, Reporter(lease).on_event, lambda: check_right(run))
        _mark_done(lease, subset, folder)
    except LeaseLost:
        raise  # the folder belongs to the worker that took over
    except JobFailed:
        remove_folder(folder)
        raise
    except BaseException:
        remove_private_text(folder)
        raise
    remove_folder(folder)


def kept_records(calibration: Calibration, record_ids: list[str]) -> list[frozenset[str]]:
    """The records that each retraining keeps; the same for the same rows, whenever it is asked."""
    return half_subsets(record_ids, calibration.subset_count, calibration.seed)


def _write_files(subset: CalibrationSubset, folder: Path) -> None:
    rows = rows_of(subset.calibration)
    kept = kept_records(subset.calibration, [row.record_id for row in rows])[subset.position]
    write_recipe(subset.calibration.index.run, folder)
    write_lines(
        folder / "examples.jsonl",
        (example for row in rows if row.record_id in kept for example in row_examples(row)),
    )


class Reporter:
    """Says how far a retraining is. Its losses are nobody's business and would fill the table."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.reported_at = 0.0

    def on_event(self, event: Event) -> None:
        if event["event"] == "failed":
            raise refusal(event)
        if event["event"] == "resumed":
            self.lease.report("resumed", step=int(event["step"]))
        elif event["event"] == "step" and time.monotonic() - self.reported_at > REPORT_SECONDS:
            self.reported_at = time.monotonic()
            step, steps = int(event["step"]), max(1, int(event["steps"]))
            self.lease.report("retraining", progress=30 + 950 * step // steps, step=step)


def _mark_done(lease: Lease, subset: CalibrationSubset, folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    digest = str(result["adapter_digest"])
    keep_adapter(folder / str(result["adapter_folder"]), digest)
    with lease.fenced():
        calibration = locked(subset.calibration)
        CalibrationSubset.objects.filter(pk=subset.pk).update(adapter_digest=digest, done_at=Now())
        Calibration.objects.filter(pk=calibration.pk).update(
            seconds=F("seconds") + float(result["seconds"])
        )
        queue_work(calibration)
