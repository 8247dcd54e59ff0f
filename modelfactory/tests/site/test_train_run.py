"""A run on a real tiny model: trained, killed, resumed, stopped; settled once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from datanets.models import Contribution
from datanets.services import withdraw_contribution
from modelfactory.attribution.record import replay
from modelfactory.models import AttributionIndex, EvaluationResult, Run
from modelfactory.services import attribute_answer, index_folder, publish_model, resume_run
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.guard_output import guard_path
from modelfactory.serving.output_guard import SPAN_WORDS
from modelfactory.tests.site.conftest import PRICES
from modelfactory.tests.site.workers import (
    finish_job,
    in_thread,
    start_worker,
    trainers_of,
    wait_until,
)
from openledger_site.accounts.models import User
from openledger_site.core.jobs import cancel_job
from openledger_site.core.models import AuditEntry

# Each test starts the trainer several times: seconds on a free core, minutes on a crowded machine.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]


def events(run: Run, kind: str) -> int:
    return run.job.events.filter(kind=kind).count()  # type: ignore[union-attr]


def finish(run: Run) -> Run:
    finish_job(run.job_id)
    return Run.objects.select_related("job").get(pk=run.pk)


def assert_settled_once(run: Run) -> None:
    assert run.state == "succeeded"
    assert adapter_folder(run.adapter_digest).is_dir()
    assert not (Path(settings.RUNS_DIR) / str(run.public_id)).exists(), "private text left on disk"
    assert AuditEntry.objects.filter(action="run.settled").count() == 1
    assert AttributionIndex.objects.get().state == "queued"
    # Each question is asked from memory and with rows at hand.
    assert run.evaluation_results.filter(retrieved=True).count() > 0
    assert (
        run.evaluation_results.count() == 2 * run.evaluation_results.filter(retrieved=True).count()
    )
    assert run.guard.span_words == SPAN_WORDS
    assert guard_path(run).is_file()
    steps = [step for step, _ in run.metrics["losses"]]
    assert steps == list(range(1, run.metrics["steps"] + 1)), "every step counts exactly once"


def test_a_run_is_trained_scored_indexed_and_its_answers_attributed(
    start: Callable[..., Run],
) -> None:
    run = finish(start(epochs=3))
    assert_settled_once(run)
    index = AttributionIndex.objects.get()
    finish_job(index.job_id)
    index.refresh_from_db()
    assert (index.state, index.record_count) == ("ready", 5)
    assert not list(Path(settings.RUNS_DIR).iterdir()), "private text left on disk"
    model = publish_model(run, name="Birds", slug="birds", card="", visibility="public", **PRICES)
    found = attribute_answer(
        model,
        run.adapter_digest,
        [{"role": "user", "content": "What about the wren?"}],
        [9, 10, 1],
        question="What about the wren?",
    )
    people = {str(person.public_id) for person in User.objects.all()}
    assert len(found.owners) == 5
    assert set(found.owners.values()) <= people
    assert sum(found.owner_parts.values()) in (0, 1_000_000_000)
    replayed = replay(found.attribution, index_folder(run.adapter_digest))
    assert replayed.index_digest == index.digest


def test_rows_withdrawn_while_it_trains_are_not_written_down(start: Callable[..., Run]) -> None:
    """Withdrawing empties what evaluation stored; a run that ends later must store nothing more."""
    run = start(epochs=30)
    assert run.job is not None
    thread = in_thread(run.job_id)
    wait_until(lambda: events(run, "step") > 0, "a step")
    gone = Contribution.objects.filter(contributor__display_name="Olive").get()
    records = {str(record.public_id) for record in gone.records.all()}
    withdraw_contribution(contribution=gone, actor=gone.contributor)
    thread.join()
    finish_job(run.job_id)
    results = EvaluationResult.objects.filter(run=run, record_id__in=records)
    assert results.count() > 0
    texts = ("question", "expected", "base_answer", "tuned_answer")
    assert not any(text for row in results.values_list(*texts) for text in row)
    assert EvaluationResult.objects.filter(run=run).exclude(question="").exists()


def test_a_killed_trainer_child_resumes_from_its_checkpoint(start: Callable[..., Run]) -> None:
    run = start(epochs=60)
    thread = in_thread(run.job_id)
    wait_until(lambda: events(run, "checkpoint") > 0, "a checkpoint")
    for child in trainers_of(os.getpid()):
        os.kill(child, signal.SIGKILL)
    thread.join()
    run = finish(run)
    assert events(run, "resumed") == 1
    assert_settled_once(run)


def test_a_killed_worker_leaves_no_child_and_another_one_resumes(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start(epochs=60)
    worker = start_worker(run.job_id, tmp_path)
    wait_until(lambda: events(run, "checkpoint") > 0, "a checkpoint")
    children = trainers_of(worker.pid)
    worker.kill()
    worker.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "no orphan")
    run = finish(run)
    assert events(run, "resumed") == 1
    assert_settled_once(run)


def test_stopping_keeps_a_checkpoint_and_no_text_and_resuming_finishes(
    start: Callable[..., Run],
) -> None:
    run = start(epochs=60)
    thread = in_thread(run.job_id)
    wait_until(lambda: events(run, "step") > 1, "some steps")
    assert run.job is not None
    cancel_job(run.job)
    thread.join()
    run.refresh_from_db()
    folder = Path(settings.RUNS_DIR) / str(run.public_id)
    assert run.state == "cancelled"
    assert list(folder.glob("checkpoints/step-*"))
    assert not (folder / "examples.jsonl").exists()
    resume_run(run)
    assert_settled_once(finish(Run.objects.get(pk=run.pk)))
