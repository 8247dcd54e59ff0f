"""Start a run, resume one that stopped, and try a failed one again with safer settings."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from datanets.models import Version
from datanets.selectors import version_for_training
from datanets.services import note_training
from modelfactory.models import BaseModel, Run
from modelfactory.services.plan import make_recipe
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.jobs import start_job
from openledger_site.core.models import Job

TRAIN_JOB = "modelfactory.train"
UNFINISHED_RUNS_MAX = 5


class TooManyRuns(DomainError):
    status = 429
    code = "too_many_runs"
    message = "You have several runs going. Wait for one to end, or stop one."


class NothingToResume(Conflict):
    code = "nothing_to_resume"
    message = "This run is still going, or has a result already."


def start_run(
    *,
    builder: Any,
    name: str,
    version: Version,
    base: BaseModel,
    effort: str,
    goal: str = "",
    rank: int | None = None,
    learning_rate: float | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    epsilon: float | None = None,
    cloned_from: Run | None = None,
) -> Run:
    """Record what will be trained and queue it. Settings left out follow from `effort`.

    With `epsilon` the trainer adds noise that keeps this privacy loss for each row (decision 51).
    The caller has checked that `builder` may train on `version`. Raises `TooManyRuns`.
    """
    chosen = {"rank": rank, "learning_rate": learning_rate, "epochs": epochs, "seed": seed}
    recipe = make_recipe(
        base,
        effort,
        chosen | {"batch_size": batch_size},
        epsilon=epsilon,
        record_count=version.train_count,
    )
    with transaction.atomic():
        _check_quota(builder)
        run = Run.objects.create(
            builder=builder,
            name=name,
            goal=goal,
            version=version,
            base=base,
            effort=effort,
            recipe=recipe,
            seed=recipe["seed"],
            training_row_count=version.train_count,
            cloned_from=cloned_from,
        )
        _queue(run)
        note_training(trainer=builder, version=version)
        record_audit(
            "run.started",
            actor=builder,
            subject=f"run:{run.public_id}",
            version=str(version.public_id),
            base=base.digest or base.source,
            recipe=recipe,
        )
    return run


def resume_run(run: Run) -> Job:
    """Go on from the last checkpoint of a run that was stopped or failed."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run.pk)
        if run.state not in (Job.State.CANCELLED, Job.State.FAILED):
            raise NothingToResume()
        version_for_training(run.builder, run.version.public_id)  # the right may have ended
        _check_quota(run.builder)
        job = _queue(run)
        record_audit("run.resumed", actor=run.builder, subject=f"run:{run.public_id}")
    return job


def retry_safer(run: Run) -> Run:
    """A new run like `run` that needs about half the memory: half the batch."""
    if not run.ended:
        raise NothingToResume()
    version = version_for_training(run.builder, run.version.public_id)
    recipe = run.recipe
    return start_run(
        builder=run.builder,
        name=f"{run.name} (safer)"[:80],
        goal=run.goal,
        version=version,
        base=run.base,
        effort=run.effort,
        rank=recipe["rank"],
        learning_rate=recipe["learning_rate"],
        epochs=recipe["epochs"],
        seed=recipe["seed"],
        batch_size=max(1, recipe["batch_size"] // 2),
        epsilon=recipe.get("privacy", {}).get("epsilon"),
        cloned_from=run,
    )


def _check_quota(builder: Any) -> None:
    unfinished = Job.objects.filter(owner=builder, kind=TRAIN_JOB, state__in=Job.UNFINISHED)
    if unfinished.count() >= UNFINISHED_RUNS_MAX:
        raise TooManyRuns(limit=UNFINISHED_RUNS_MAX)


def _queue(run: Run) -> Job:
    run.job = start_job(
        TRAIN_JOB,
        queue="ml",
        subject=f"run:{run.public_id}",
        owner=run.builder,
        payload={"run_id": str(run.public_id)},
    )
    run.save(update_fields=["job"])
    return run.job
