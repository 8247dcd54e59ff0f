"""Fit attribution to what the retrained adapters say, under a lease, in a child process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from datanets.selectors import TrainingRow
from modelfactory.attribution.calibration import calibration_folder as calibration_folder_in
from modelfactory.models import Calibration
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.base_models import base_source
from modelfactory.services.build_index import index_folder
from modelfactory.services.calibrate_model import rows_of
from modelfactory.services.child import Event, run_child
from modelfactory.services.train_subset import kept_records
from modelfactory.services.training_files import (
    even_choice,
    held_out_questions,
    private_folder,
    remove_folder,
    row_examples,
    write_lines,
    write_text,
)
from modelfactory.services.value_contributors import queue_estimate
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, Lease, LeaseLost

REPORT_SECONDS = 0.5
QUESTIONS_MAX = 60
"""Of each kind: what a trained wording and a new wording are answered from."""


def calibration_folder(adapter_digest: str) -> Path:
    """Where the calibration of an adapter lies once it is ready; the worker looks there."""
    return calibration_folder_in(Path(settings.ATTRIBUTION_DIR), adapter_digest)


def fit_calibration(lease: Lease, calibration: Calibration) -> None:
    """Fit, move into place, then mark ready; the rows' text leaves the disk either way.

    Fitting again gives the same bytes, so an interrupted fit simply starts over.
    """
    if calibration.ready_at is not None:
        return
    started = time.monotonic()
    folder = private_folder(f"calibrate-{calibration.index.adapter_digest}")
    try:
        _write_job(calibration, folder)
        reporter = Reporter(lease)
        arguments = ["-m", "modelfactory.attribution", "calibrate", str(folder)]
        run_child(lease, arguments, folder, reporter.on_event)
        _mark_ready(lease, calibration, folder, reporter, time.monotonic() - started)
    except LeaseLost:
        raise  # the folder belongs to the worker that took over
    except BaseException:
        remove_folder(folder)
        raise
    remove_folder(folder)


def _write_job(calibration: Calibration, folder: Path) -> None:
    run, adapter = calibration.index.run, calibration.index.adapter_digest
    rows = rows_of(calibration)
    kept = kept_records(calibration, [row.record_id for row in rows])
    spec = {
        "schema": 1,
        "base": base_source(run.base),
        "base_digest": run.base.digest or f"hub:{run.base.source}",
        "index": str(index_folder(adapter)),
        "adapter": str(adapter_folder(adapter)),
        "subsets": [
            {
                "adapter": str(adapter_folder(subset.adapter_digest)),
                "kept": sorted(kept[subset.position]),
            }
            for subset in calibration.subsets.order_by("position")
        ],
        "max_length": run.recipe["max_length"],
        "threads": run.recipe["threads"],
        "seed": calibration.seed,
    }
    questions = list(_questions(calibration, rows))
    write_text(folder / "spec.json", json.dumps(spec, sort_keys=True))
    write_lines(folder / "questions.jsonl", [question for _, question in questions])
    write_text(folder / "kinds.json", json.dumps([kind for kind, _ in questions]))


def _questions(
    calibration: Calibration, rows: list[TrainingRow]
) -> Iterator[tuple[str, dict[str, str]]]:
    """What scores are tested on: held-out wordings of trained rows, and as many trained ones."""
    trained = {row.record_id for row in rows}
    held_out = held_out_questions(calibration.index.run.version)
    reworded = [question for question in held_out if question["record_id"] in trained]
    chosen = even_choice(reworded, QUESTIONS_MAX)
    for row in even_choice(rows, len(chosen) or QUESTIONS_MAX):
        yield "trained", next(row_examples(row))
    for question in chosen:
        yield "rewording", question


class Reporter:
    """Turns the child's events into job events, and keeps what its last one tells."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.reported_at = 0.0
        self.digest = ""
        self.fidelity: dict[str, Any] = {}

    def on_event(self, event: Event) -> None:
        kind = event["event"]
        if kind == "loading":
            self.lease.report("loading", progress=50, message="Loading the retrained adapters")
        elif kind == "progress" and time.monotonic() - self.reported_at > REPORT_SECONDS:
            self.reported_at = time.monotonic()
            done, total = int(event["done"]), max(1, int(event["of"]))
            self.lease.report("progress", progress=100 + 850 * done // total, done=done, of=total)
        elif kind == "done":
            self.digest = str(event["calibration_digest"])
            self.fidelity = _storable(event["fidelity"])
        elif kind == "failed":
            raise JobFailed(
                "The retrained adapters do not allow a measurement: it takes several rows whose "
                "answers differ. The scores stay as they are, with an unknown error.",
                code="calibration_unusable",
            )


def _storable(fidelity: dict[str, Any]) -> dict[str, Any]:
    """A correlation of nothing is NaN, which PostgreSQL's JSON cannot hold: null says the same."""
    plain: dict[str, Any] = json.loads(json.dumps(fidelity), parse_constant=lambda name: None)
    return plain


def _mark_ready(
    lease: Lease, calibration: Calibration, folder: Path, found: Reporter, seconds: float
) -> None:
    lease.check()
    adapter = calibration.index.adapter_digest
    place = calibration_folder(adapter)
    shutil.rmtree(place, ignore_errors=True)  # of an attempt that died before its row was written
    (folder / "calibration").rename(place)
    with lease.fenced():
        Calibration.objects.filter(pk=calibration.pk).update(
            digest=found.digest,
            fidelity=found.fidelity,
            seconds=F("seconds") + seconds,
            ready_at=Now(),
        )
        record_audit(
            "calibration.fitted",
            actor="trainer",
            subject=f"adapter:{adapter}",
            digest=found.digest,
            pays=bool(found.fidelity.get("pays")),
        )
        queue_estimate(calibration.index)
