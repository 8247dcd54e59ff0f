"""A run on a real tiny model: trained, killed, resumed, stopped; settled once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection

from datanets.models import Version
from modelfactory.attribution.record import replay
from modelfactory.models import AttributionIndex, BaseModel, Run
from modelfactory.services import (
    TRAIN_JOB,
    attribute_answer,
    index_folder,
    publish_model,
    read_base_folder,
    resume_run,
)
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.plan import make_recipe
from modelfactory.tests.site.conftest import PRICES
from openledger_site.accounts.models import User
from openledger_site.core.jobs import cancel_job, run_job, start_job, sweep
from openledger_site.core.models import AuditEntry, Job

# Each test starts the trainer several times: seconds on a free core, minutes on a crowded machine.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
DEADLINE_SECONDS = 300


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-base")
    # In a process of its own: this one stays free of torch, as the web process has to.
    script = Path(__file__).with_name("tiny_base.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.fixture
def tiny_base(tiny_base_folder: Path) -> BaseModel:
    facts = read_base_folder(tiny_base_folder)
    return BaseModel.objects.create(
        slug="tiny", source=str(tiny_base_folder), **vars(facts) | {"name": "Tiny"}
    )


@pytest.fixture
def start(builder: User, version: Version, tiny_base: BaseModel) -> Callable[..., Run]:
    """A queued run with checkpoints close together, so that a test can hit the middle."""

    def make(epochs: int) -> Run:
        chosen = {"epochs": epochs, "checkpoint_every_steps": 4, "rank": 2, "max_length": 160}
        recipe = make_recipe(tiny_base, "quick", chosen)
        run = Run.objects.create(
            builder=builder, name="Birds", version=version, base=tiny_base, effort="quick",
            recipe=recipe, seed=recipe["seed"], training_row_count=5,
        )  # fmt: skip
        subject, payload = f"run:{run.public_id}", {"run_id": str(run.public_id)}
        run.job = start_job(TRAIN_JOB, queue="ml", subject=subject, owner=builder, payload=payload)
        run.save(update_fields=["job"])
        return run

    return make


def events(run: Run, kind: str) -> int:
    return run.job.events.filter(kind=kind).count()  # type: ignore[union-attr]


def trainers_of(pid: int) -> list[int]:
    """Living children of a process that train; a test session has others too, its chain first."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            trains = b"modelfactory.training" in (status.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        if trains and int(fields["PPid"]) == pid:
            found.append(int(fields["Pid"]))
    return found


def in_thread(run: Run) -> threading.Thread:
    def work() -> None:
        try:
            run_job(str(run.job_id))
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def finish_job(job_id: UUID | None) -> None:
    """Do what the workers and the sweep do, until the job has ended."""

    def ended() -> bool:
        sweep()
        run_job(str(job_id))
        return Job.objects.filter(pk=job_id, ended_at__isnull=False).exists()

    wait_until(ended, "the job ends")


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


def test_a_killed_trainer_child_resumes_from_its_checkpoint(start: Callable[..., Run]) -> None:
    run = start(epochs=60)
    thread = in_thread(run)
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
    worker = start_worker(run, tmp_path)
    wait_until(lambda: events(run, "checkpoint") > 0, "a checkpoint")
    children = trainers_of(worker.pid)
    worker.kill()
    worker.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "no orphan")
    run = finish(run)
    assert events(run, "resumed") == 1
    assert_settled_once(run)


def start_worker(run: Run, local: Path) -> subprocess.Popen[bytes]:
    """A worker process of its own on this test's database, with a lease of two seconds."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
    environment = os.environ | {
        "DATABASE_URL": url,
        "OPENLEDGER_LOCAL_DIR": str(local),
        "DJANGO_SETTINGS_MODULE": "openledger_site.settings",
        "JOB_LEASE_SECONDS": "2",
        "JOB_HEARTBEAT_SECONDS": "1",
    }
    script = (
        "import sys, django; django.setup();"
        "from openledger_site.core.jobs import run_job; run_job(sys.argv[1])"
    )
    command = [sys.executable, "-c", script, str(run.job_id)]
    return subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR)


def test_stopping_keeps_a_checkpoint_and_no_text_and_resuming_finishes(
    start: Callable[..., Run],
) -> None:
    run = start(epochs=60)
    thread = in_thread(run)
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
