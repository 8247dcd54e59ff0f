"""Fit attribution to what the retrained adapters say, under a lease, in a child process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from datanets.selectors import TrainingRow
from modelfactory.models import AttributionIndex, Calibration
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.base_models import base_source
from modelfactory.services.build_index import calibration_folder, index_folder
from modelfactory.services.calibrate_model import rows_changed, rows_of
from modelfactory.services.child import Event
from modelfactory.services.child_job import (
    ANY,
    job_folder,
    manifest_of,
    put_in_place,
    run_attribution,
)
from modelfactory.services.queue_following import is_behind
from modelfactory.services.train_subset import kept_records
from modelfactory.services.training_files import (
    even_choice,
    held_out_questions,
    row_examples,
    write_lines,
    write_text,
)
from modelfactory.services.value_contributors import queue_estimate
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, Lease

QUESTIONS_MAX = 60
"""Of each kind: what a trained wording and a new wording are answered from."""


UNUSABLE = JobFailed(
    "The retrained adapters do not allow a measurement: it takes several rows whose answers "
    "differ. The scores stay as they are, with an unknown error.",
    code="calibration_unusable",
)


def fit_calibration(lease: Lease, calibration: Calibration) -> None:
    """Fit, move into place, then mark ready; the rows' text leaves the disk either way.

    Fitting again gives the same bytes, so an interrupted fit simply starts over.
    """
    if calibration.ready_at is not None:
        return
    started = time.monotonic()
    with job_folder(f"calibrate-{calibration.index.adapter_digest}") as folder:
        _write_job(calibration, folder)
        done = run_attribution(
            lease,
            ["calibrate", str(folder)],
            folder,
            loading="Loading the retrained adapters",
            refusals={ANY: UNUSABLE},
        )
        _mark_ready(lease, calibration, folder, done, time.monotonic() - started)


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


def _storable(fidelity: dict[str, Any]) -> dict[str, Any]:
    """A correlation of nothing is NaN, which PostgreSQL's JSON cannot hold: null says the same."""
    plain: dict[str, Any] = json.loads(json.dumps(fidelity), parse_constant=lambda name: None)
    return plain


def _mark_ready(
    lease: Lease, calibration: Calibration, folder: Path, done: Event, seconds: float
) -> None:
    adapter, digest = calibration.index.adapter_digest, str(done["calibration_digest"])
    fidelity = _storable(done["fidelity"])
    made = folder / "calibration"
    fitted_to = manifest_of(made)["identity"]["index_digest"]
    with lease.fenced():
        index = AttributionIndex.objects.select_for_update().get(pk=calibration.index_id)
        if index.digest != fitted_to or is_behind(index):
            raise rows_changed()
        put_in_place(made, calibration_folder(adapter))
        Calibration.objects.filter(pk=calibration.pk).update(
            digest=digest,
            fidelity=fidelity,
            seconds=F("seconds") + seconds,
            damaged_at=None,
            ready_at=Now(),
        )
        record_audit(
            "calibration.fitted",
            actor="trainer",
            subject=f"adapter:{adapter}",
            digest=digest,
            pays=bool(fidelity.get("pays")),
        )
        queue_estimate(calibration.index)
