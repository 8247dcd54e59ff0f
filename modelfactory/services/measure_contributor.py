"""Repeat a run without one contributor's rows under a lease, and ask the held-out questions.

Nothing stays but the losses: the adapter and the rows' text are removed when the job ends.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import F
from django.db.models.functions import Now

from modelfactory.models import Run, Valuation, ValueRetraining
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.base_models import base_source
from modelfactory.services.build_index import index_folder
from modelfactory.services.calibrate_model import rows_of
from modelfactory.services.child import Event, run_child
from modelfactory.services.train_run import check_right, train_in_child
from modelfactory.services.train_subset import Reporter
from modelfactory.services.training_files import (
    private_folder,
    remove_folder,
    remove_private_text,
    row_examples,
    write_lines,
    write_recipe,
    write_text,
)
from modelfactory.services.value_contributors import asked_questions, locked, queue_next
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, Lease, LeaseLost


def measure_contributor(lease: Lease, retraining: ValueRetraining) -> None:
    """Retrain, ask, store the losses, queue what comes next. Safe to run twice.

    An interrupted retraining goes on from its newest checkpoint. After a refusal nothing stays.
    """
    if retraining.done_at is not None:
        return
    folder = private_folder(f"value-{retraining.valuation_id}-{retraining.position}")
    try:
        adapter, seconds = _adapter(lease, retraining, folder)
        losses = _losses(lease, retraining.valuation, adapter, folder)
        _mark_done(lease, retraining, losses, seconds)
    except LeaseLost:
        raise  # the folder belongs to the worker that took over
    except JobFailed:
        remove_folder(folder)
        raise
    except BaseException:
        remove_private_text(folder)
        remove_folder(folder / "ask")
        raise
    remove_folder(folder)


def _adapter(lease: Lease, retraining: ValueRetraining, folder: Path) -> tuple[Path, float]:
    """The adapter to ask and the seconds it took; the run's own is there already."""
    run = retraining.valuation.index.run
    rows = rows_of(retraining.valuation)
    if retraining.left_out_id is None and retraining.repeat == 0:
        return adapter_folder(run.adapter_digest), 0.0
    left_out = _public_id(retraining.left_out_id)
    write_recipe(run, folder, seed=int(run.recipe["seed"]) + retraining.repeat)
    write_lines(
        folder / "examples.jsonl",
        (
            example
            for row in rows
            if row.contributor_id != left_out
            for example in row_examples(row)
        ),
    )
    if not (folder / "result.json").is_file():
        lease.report("preparing", progress=10, message="Training again without some rows")
        train_in_child(lease, folder, Reporter(lease).on_event, lambda: check_right(run))
    result = json.loads((folder / "result.json").read_text())
    return folder / str(result["adapter_folder"]), float(result["seconds"])


def _public_id(user_id: int | None) -> str:
    if user_id is None:
        return ""
    return str(get_user_model().objects.values_list("public_id", flat=True).get(pk=user_id))


def question_spec(run: Run, adapter: Path, **more: Any) -> dict[str, Any]:
    """What `modelfactory.attribution.contributor_job` reads."""
    return {
        "base": base_source(run.base),
        "adapter": str(adapter),
        "index": str(index_folder(run.adapter_digest)),
        "max_length": run.recipe["max_length"],
        "threads": run.recipe["threads"],
        **more,
    }


def _losses(lease: Lease, valuation: Valuation, adapter: Path, folder: Path) -> list[float]:
    """Of each held-out question, nats per response token; the questions leave the disk."""
    run = valuation.index.run
    lease.report("asking", progress=960, message="Asking the held-out questions")
    found = ask_child(lease, folder, "losses", question_spec(run, adapter), run)
    losses = [round(float(value), 6) for value in found]
    if len(losses) != valuation.question_count or not all(map(math.isfinite, losses)):
        raise unmeasurable()
    return losses


def ask_child(lease: Lease, folder: Path, command: str, spec: dict[str, Any], run: Run) -> Any:
    """What a command of `modelfactory.attribution` finds on the held-out questions of `run`.

    Raises `JobFailed` when it finds nothing.
    """
    place = private_folder(f"{folder.name}/ask")
    answers: dict[str, Any] = {}

    def on_event(event: Event) -> None:
        if event["event"] == "failed":
            raise unmeasurable()
        if event["event"] == "done":
            answers.update(event)

    write_text(place / "spec.json", json.dumps(spec, sort_keys=True))
    write_lines(place / "questions.jsonl", asked_questions(run))
    run_child(lease, ["-m", "modelfactory.attribution", command, str(place)], place, on_event)
    remove_folder(place)
    if "found" not in answers:
        raise unmeasurable()
    return answers["found"]


def unmeasurable() -> JobFailed:
    return JobFailed("The held-out questions could not be asked.", code="questions_unmeasurable")


def _mark_done(
    lease: Lease, retraining: ValueRetraining, losses: list[float], seconds: float
) -> None:
    with lease.fenced():
        valuation = locked(retraining.valuation)
        ValueRetraining.objects.filter(pk=retraining.pk).update(losses=losses, done_at=Now())
        Valuation.objects.filter(pk=valuation.pk).update(seconds=F("seconds") + seconds)
        queue_next(valuation)


def estimate_contributors(lease: Lease, valuation: Valuation) -> None:
    """What the calibration says of each contributor's rows together: needs no retraining.

    Safe to run twice: it gives the same figures again.
    """
    if valuation.estimated_at is not None:
        return
    run = valuation.index.run
    folder = private_folder(f"value-estimate-{valuation.pk}")
    try:
        groups: dict[str, list[str]] = {}
        for row in rows_of(valuation):
            groups.setdefault(row.contributor_id, []).append(row.record_id)
        spec = question_spec(run, adapter_folder(run.adapter_digest), groups=groups)
        lease.report("asking", progress=100, message="Asking the held-out questions")
        effects = ask_child(lease, folder, "estimate", spec, run)
    except LeaseLost:
        raise
    except BaseException:
        remove_folder(folder)
        raise
    remove_folder(folder)
    with lease.fenced():
        for value in valuation.contributors.select_related("contributor"):
            found = effects.get(str(value.contributor.public_id))
            if found is not None:
                value.estimate, value.estimate_low, value.estimate_high = found
                value.save(update_fields=["estimate", "estimate_low", "estimate_high"])
        Valuation.objects.filter(pk=valuation.pk).update(estimated_at=Now())
        record_audit(
            "valuation.estimated",
            actor="attribution",
            subject=f"adapter:{run.adapter_digest}",
            contributors=len(effects),
        )
