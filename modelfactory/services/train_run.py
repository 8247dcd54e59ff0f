"""Train one run under a lease: write its files, supervise the child, settle once, clean up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from datanets.models import Datanet, Record
from datanets.selectors import may_train
from modelfactory.models import AttributionIndex, EvaluationResult, Run
from modelfactory.services.adapters import keep_adapter, keep_trail
from modelfactory.services.child import ChildDied, Event, run_child
from modelfactory.services.guard_output import keep_output_guard, write_output_guard
from modelfactory.services.training_files import (
    SEAL,
    kept_digest,
    remove_folder,
    remove_private_text,
    run_folder,
    write_training_files,
)
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, Lease, start_job
from openledger_site.core.row_security import all_rows

INDEX_JOB = "modelfactory.index"
REPORT_SECONDS = 0.4
# Thousandths of the job: reading files and weights, the steps, the questions, the canaries.
LOADED, TRAINED, EVALUATED, PROBED = 30, 850, 960, 990
ANSWER_FIELDS = (
    "record_id",
    "question",
    "expected",
    "base_answer",
    "tuned_answer",
    "retrieved",
    "base_correct",
    "tuned_correct",
)
RIGHT_ENDED = "no_right_to_train"
REFUSALS = {
    "BaseError": "The base model could not be loaded. Choose another one, or tell the operator.",
    "RecipeError": "These settings cannot be trained with. Start a new run with other settings.",
}


def train_run(lease: Lease, run: Run) -> None:
    """Bring `run` from its newest complete checkpoint to its result. Safe to run twice.

    An interruption leaves checkpoints behind and a row that says "not settled": the next attempt
    goes on from there. The rows' text is off the disk whenever this function is left alive, and
    the checkpoints too once the builder's right to train has ended.
    """
    folder = run_folder(run)
    if run.settled_at is None:
        try:
            check_right(run)
            write_training_files(run)
            if not _is_finished(folder):
                _train(lease, run, folder)
            _settle(lease, run, folder)
        except RightEnded:
            remove_folder(folder)
            raise
        except BaseException:
            remove_private_text(folder)
            raise
    remove_folder(folder)


class RightEnded(JobFailed):
    """The builder lost the right to train while the work waited or went on."""


def check_right(run: Run) -> None:
    """Raises `RightEnded`. Asked all along: a right that is revoked ends a run within a second."""
    if not may_train(run.builder, run.version.datanet_id):
        raise RightEnded(
            "Your right to train on this data has ended, so the run was stopped and what it had "
            "learnt was deleted.",
            code=RIGHT_ENDED,
        )


def _is_finished(folder: Path) -> bool:
    """The child of an earlier attempt got to the end, and only settling is missing."""
    if not (folder / "result.json").is_file():
        return False
    scored = (folder / "evaluation_result.jsonl").is_file()
    return scored or (folder / "evaluation.jsonl").stat().st_size == 0


def _train(lease: Lease, run: Run, folder: Path) -> None:
    lease.report("preparing", progress=10, message="Starting the trainer")
    train_in_child(lease, folder, Reporter(lease).on_event, lambda: check_right(run))


def train_in_child(
    lease: Lease,
    folder: Path,
    on_event: Callable[[Event], None],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Train what `folder` describes; a trainer that dies at every attempt gets a clear refusal."""
    try:
        run_child(lease, ["-m", "modelfactory.training", str(folder)], folder, on_event, check)
    except ChildDied as death:
        if lease.attempt >= lease.job.attempts_max:
            raise JobFailed(
                "The trainer stopped again and again without finishing. The safer settings may "
                "help; if not, ask the operator to look at its log.",
                code="trainer_died",
            ) from death
        raise


def refusal(event: Event) -> JobFailed:
    """Fixed words for what the trainer refused: its own may quote a row."""
    code = str(event.get("error"))
    return JobFailed(REFUSALS.get(code, "The trainer refused this run."), code=code)


class Reporter:
    """Turns the child's events into job events: numbers and fixed words, never a row's text."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.reported_at = 0.0
        self.first: tuple[float, int, int] | None = None  # seconds, step, tokens at the first step

    def on_event(self, event: Event) -> None:
        kind = event["event"]
        if kind == "step":
            self._step(event)
        elif kind == "loading":
            self.lease.report("loading", progress=20, message="Loading the base model")
        elif kind == "checkpoint":
            self.lease.report("checkpoint", step=int(event["step"]))
        elif kind == "resumed":
            self.lease.report("resumed", step=int(event["step"]))
        elif kind == "probing":
            self._probing(event)
        elif kind == "evaluated":
            self.lease.report("evaluated", progress=EVALUATED, message="Comparing with its base")
        elif kind == "failed":
            raise refusal(event)

    def _probing(self, event: Event) -> None:
        now, step, steps = time.monotonic(), int(event["step"]), int(event["steps"])
        if now - self.reported_at < REPORT_SECONDS:
            return
        self.reported_at = now
        self.lease.report(
            "probing",
            progress=EVALUATED + (PROBED - EVALUATED) * step // max(1, steps),
            message="Measuring what it gives away of single rows",
        )

    def _step(self, event: Event) -> None:
        now, step, steps = time.monotonic(), int(event["step"]), int(event["steps"])
        if "loss" not in event:
            self._protected_step(step, steps)
            return
        tokens = int(event["tokens"])
        if self.first is None:
            self.first = (now, step, tokens)
        if now - self.reported_at < REPORT_SECONDS and step != steps:
            return
        self.reported_at = now
        started, first_step, first_tokens = self.first
        rates: dict[str, Any] = {}
        if step > first_step and now > started:
            rates["tokens_per_second"] = round((tokens - first_tokens) / (now - started), 1)
            rates["remaining_seconds"] = round(
                (steps - step) * (now - started) / (step - first_step)
            )
        self._report_step(step, steps, loss=round(float(event["loss"]), 4), **rates)

    def _protected_step(self, step: int, steps: int) -> None:
        """Every tenth of the run: how long a single step took would tell of the rows it read."""
        if step == steps or step % max(1, steps // 10) == 0:
            self._report_step(step, steps)

    def _report_step(self, step: int, steps: int, **figures: Any) -> None:
        self.lease.report(
            "step",
            progress=LOADED + (TRAINED - LOADED) * step // max(1, steps),
            message="Asking the held-out questions" if step == steps else f"Step {step} of {steps}",
            step=step,
            steps=steps,
            **figures,
        )


def _settle(lease: Lease, run: Run, folder: Path) -> None:
    """Copy the adapter to its place, then store everything in one transaction of this lease."""
    check_right(run)
    result = json.loads((folder / "result.json").read_text())
    digest = str(result["adapter_digest"])
    keep_adapter(folder / str(result["adapter_folder"]), digest)
    trail = keep_trail(folder)
    learnt = kept_digest(run.version, (folder / SEAL).read_text())
    answers = _evaluation(run, folder)
    guarded = write_output_guard(run, folder / "examples.jsonl")
    with lease.fenced():
        # Whoever withdraws rows locks it too, and empties what is stored of them by then.
        Datanet.objects.select_for_update(no_key=True).get(pk=run.version.datanet_id)
        locked = Run.objects.select_for_update().get(pk=run.pk)
        if locked.settled_at is not None:
            return
        check_right(run)
        _empty_withdrawn(answers)
        EvaluationResult.objects.bulk_create(answers)
        Run.objects.filter(pk=run.pk).update(
            adapter_digest=digest, metrics=_metrics(result), rows_digest=learnt, settled_at=Now()
        )
        keep_output_guard(locked, guarded)
        _queue_index(locked, digest, trail)
        record_audit(
            "run.settled",
            actor="trainer",
            subject=f"run:{run.public_id}",
            adapter=digest,
            questions=len(answers),
            tuned_correct=sum(answer.tuned_correct for answer in answers),
        )
    lease.report("settled", progress=1000, message="Done")


def _metrics(result: dict[str, Any]) -> dict[str, Any]:
    names = ("steps", "tokens", "seconds", "losses", "evaluated", "privacy")
    return {name: result[name] for name in names if name in result}


def _evaluation(run: Run, folder: Path) -> list[EvaluationResult]:
    path = folder / "evaluation_result.jsonl"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        EvaluationResult(
            run=run,
            position=position,
            **{name: _storable(row[name]) for name in ANSWER_FIELDS},
        )
        for position, row in enumerate(rows)
    ]


@all_rows("a withdrawal is followed everywhere")
def _empty_withdrawn(answers: list[EvaluationResult]) -> None:
    """Of rows withdrawn while the run went on; how many were answered right stays."""
    asked = [answer.record_id for answer in answers]
    gone = Record.objects.filter(public_id__in=asked, state=Record.State.WITHDRAWN)
    withdrawn = {str(public_id) for public_id in gone.values_list("public_id", flat=True)}
    for answer in answers:
        if answer.record_id in withdrawn:
            answer.question = answer.expected = answer.base_answer = answer.tuned_answer = ""


def _storable(value: Any) -> Any:
    """A model can say anything, a NUL too, which PostgreSQL's text cannot hold."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _queue_index(run: Run, digest: str, trail: list[str]) -> None:
    """Build the adapter's index, unless an equal run built it or is building it."""
    index, _ = AttributionIndex.objects.select_related("job").get_or_create(
        adapter_digest=digest, defaults={"run": run, "trail_digests": trail}
    )
    if index.ready_at is not None or (index.job is not None and not index.job.ended):
        return
    index.job = start_job(
        INDEX_JOB,
        queue="attribution",
        subject=f"adapter:{digest}",
        owner=run.builder,
        payload={"adapter_digest": digest},
    )
    index.save(update_fields=["job"])
