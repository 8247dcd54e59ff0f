"""Train a run again without some of its records, and see what a served answer loses by it.

The yardstick of attribution: the influence of rows on an answer *is* how much its log-probability
changes when the same recipe is run without them (Koh & Liang 2017). Leaving out any rows changes an
adapter a little, so the same number of other rows, chosen by a seed, is left out as well: what that
changes is noise.

The retrained adapters and the rows' text stay in a folder of the audit's own, which is removed when
the audit ends: nothing here is ever served.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from modelfactory.models import Run
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.base_models import base_source
from modelfactory.services.child import Event, run_child
from modelfactory.services.train_run import refusal, train_in_child
from modelfactory.services.training_files import (
    SEAL,
    are_learnt,
    examples_digest,
    examples_of,
    private_folder,
    remove_folder,
    remove_private_text,
    write_lines,
    write_recipe,
    write_text,
)
from openledger_site.core.errors import DomainError
from openledger_site.core.jobs import JobCancelled, JobFailed, Lease, LeaseLost
from openledger_site.core.models import Job

MEASURE_SCHEMA = 1
PREFIX = "audit-"
# Thousandths of the job: two retrainings, then the measuring.
WITHOUT, YARDSTICK = (10, 460), (460, 910)


@dataclass(frozen=True)
class Retraining:
    """An adapter trained without some records; it lies in the audit's folder until that ends."""

    adapter_digest: str
    adapter_folder: Path


@dataclass(frozen=True)
class Removal:
    """What leaving records out did to an answer; log-probabilities in nats, of the whole answer.

    `yardstick_count` other records were left out for comparison. `rows_changed`: rows were
    withdrawn since the run, so no retraining can have them, and part of both changes is theirs.
    """

    record_count: int
    log_probability: float
    without: float
    without_digest: str
    yardstick: float
    yardstick_digest: str
    yardstick_count: int
    rows_changed: bool


def audit_removal(
    lease: Lease,
    run: Run,
    record_ids: Collection[str],
    *,
    messages: Sequence[Mapping[str, str]],
    response_ids: Sequence[int],
    seed: str,
) -> Removal:
    """Retrain without `record_ids` and without as many others, and measure the answer under both.

    Safe to run twice: an interrupted retraining resumes. No text is left on disk however it ends.
    """
    remove_finished_audits()
    folder = private_folder(f"{PREFIX}{lease.job.pk}")
    others = other_records(run, record_ids, seed)
    try:
        without = retrain_without(lease, run, record_ids, span=WITHOUT)
        yardstick = retrain_without(lease, run, others, span=YARDSTICK)
        adapters = (
            adapter_folder(run.adapter_digest),
            without.adapter_folder,
            yardstick.adapter_folder,
        )
        found = measure_answer(lease, run, adapters, messages, response_ids)
        changed = _rows_changed(run)
    except LeaseLost:
        raise  # the worker that took over reads these files now
    except BaseException as problem:
        final = isinstance(problem, (DomainError, JobCancelled))
        if final or lease.attempt >= lease.job.attempts_max:
            remove_folder(folder)
        raise
    remove_folder(folder)
    return Removal(
        record_count=len(record_ids),
        log_probability=found[0],
        without=found[1],
        without_digest=without.adapter_digest,
        yardstick=found[2],
        yardstick_digest=yardstick.adapter_digest,
        yardstick_count=len(others),
        rows_changed=changed,
    )


def other_records(run: Run, record_ids: Collection[str], seed: str) -> list[str]:
    """As many other trained records as `record_ids`, or all there are; the seed decides which.

    The order is that of SHA-256 over seed and id, so anybody who has the ids can repeat it.
    """
    trained = dict.fromkeys(example["record_id"] for example in examples_of(run.version))
    rest = [record_id for record_id in trained if record_id not in record_ids]
    rest.sort(key=lambda record_id: hashlib.sha256(f"{seed}:{record_id}".encode()).digest())
    return rest[: len(record_ids)]


def retrain_without(
    lease: Lease, run: Run, record_ids: Collection[str], *, span: tuple[int, int] = (0, 1000)
) -> Retraining:
    """Run the recipe of `run` on its examples, those of `record_ids` left out.

    The rows' text leaves the disk with the trainer; checkpoints stay until the audit ends. `span`
    are the thousandths of the job that this takes.
    """
    folder = _retraining_folder(lease, record_ids)
    examples = [row for row in examples_of(run.version) if row["record_id"] not in record_ids]
    if not examples:
        raise JobFailed("Without these rows there is nothing left to train.", code="nothing_left")
    digest = examples_digest(examples)
    seal = folder / SEAL
    if seal.is_file() and seal.read_text() != digest:  # rows were withdrawn between two attempts
        remove_folder(folder)
        folder = _retraining_folder(lease, record_ids)
    if not (folder / "result.json").is_file():
        write_text(seal, digest)
        write_recipe(run, folder)
        try:
            write_lines(folder / "examples.jsonl", examples)
            train_in_child(lease, folder, _reporter(lease, span))
        except LeaseLost:
            raise
        except BaseException:
            remove_private_text(folder)
            raise
    remove_private_text(folder)
    result = json.loads((folder / "result.json").read_text())
    return Retraining(str(result["adapter_digest"]), folder / str(result["adapter_folder"]))


def measure_answer(
    lease: Lease,
    run: Run,
    adapters: Iterable[Path],
    messages: Sequence[Mapping[str, str]],
    response_ids: Sequence[int],
) -> list[float]:
    """The log-probability (nats, whole answer) of an answer under each adapter, in a child."""
    folder = _audit_folder(lease, "measure")
    spec = {
        "schema": MEASURE_SCHEMA,
        "base": base_source(run.base),
        "adapters": [str(adapter) for adapter in adapters],
        "max_length": run.recipe["max_length"],
        "threads": run.recipe["threads"],
    }
    answer = {"messages": list(messages), "response_ids": list(response_ids)}
    measured: list[float] = []

    def on_event(event: Event) -> None:
        if event["event"] == "failed":
            raise JobFailed("This answer could not be measured.", code="answer_unmeasurable")
        if event["event"] == "done":
            measured.extend(float(value) for value in event["log_probabilities"])

    lease.report("measuring", progress=YARDSTICK[1], message="Measuring the answer")
    try:
        write_text(folder / "spec.json", json.dumps(spec, sort_keys=True))
        write_text(folder / "answer.json", json.dumps(answer, ensure_ascii=False))
        run_child(
            lease, ["-m", "modelfactory.attribution", "measure", str(folder)], folder, on_event
        )
    except LeaseLost:
        raise
    except BaseException:
        remove_folder(folder)
        raise
    remove_folder(folder)
    if len(measured) != len(spec["adapters"]) or not all(map(math.isfinite, measured)):
        raise JobFailed("This answer could not be measured.", code="answer_unmeasurable")
    return measured


def remove_finished_audits() -> None:
    """Delete what audits left behind whose worker was killed at its last attempt."""
    for folder in Path(settings.RUNS_DIR).glob(f"{PREFIX}*"):
        job = Job.objects.filter(pk=UUID(folder.name.removeprefix(PREFIX))).first()
        if job is None or job.ended:
            remove_folder(folder)


def _audit_folder(lease: Lease, name: str) -> Path:
    private_folder(f"{PREFIX}{lease.job.pk}")  # first, so that the outer one is private as well
    return private_folder(f"{PREFIX}{lease.job.pk}/{name}")


def _retraining_folder(lease: Lease, record_ids: Iterable[str]) -> Path:
    """One for each set of records, so that a second attempt finds its own checkpoints."""
    named = hashlib.sha256("\n".join(sorted(record_ids)).encode()).hexdigest()[:16]
    return _audit_folder(lease, f"without-{named}")


def _reporter(lease: Lease, span: tuple[int, int]) -> Callable[[Event], None]:
    """Turns the trainer's steps into progress within `span`: numbers and fixed words."""
    low, high = span

    def on_event(event: Event) -> None:
        if event["event"] == "failed":
            raise refusal(event)
        if event["event"] == "loading":
            lease.report("loading", progress=low, message="Loading the base model")
        elif event["event"] == "step":
            _report_step(lease, event, low, high)

    return on_event


def _report_step(lease: Lease, event: Mapping[str, Any], low: int, high: int) -> None:
    step, steps = int(event["step"]), max(1, int(event["steps"]))
    stride = max(1, steps // 20)  # twenty reports a retraining are enough for a progress bar
    if step % stride and step != steps:
        return
    lease.report(
        "step",
        progress=low + (high - low) * step // steps,
        message=f"Retraining, step {step} of {steps}",
        step=step,
        steps=steps,
    )


def _rows_changed(run: Run) -> bool:
    """Whether the rows are not those that the run learnt; only later runs wrote that down."""
    learnt, version = run.rows_digest, run.version
    return learnt != "" and not are_learnt(version, learnt, examples_of(version))
