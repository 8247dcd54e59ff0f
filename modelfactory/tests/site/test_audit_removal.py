"""Leaving records out for real: what it finds, and that nothing of it stays on the disk."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models.functions import Now
from tokenizers import Tokenizer

from datanets.models import Record, Version
from modelfactory.models import BaseModel, Run
from modelfactory.services import read_base_folder
from modelfactory.services.adapters import keep_adapter
from modelfactory.services.audit_removal import (
    audit_removal,
    other_records,
    remove_finished_audits,
    retrain_without,
)
from modelfactory.services.plan import make_recipe
from openledger_site.accounts.models import User
from openledger_site.core.jobs import JobCancelled, JobFailed, Lease
from openledger_site.core.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]
QUESTION, ANSWER = "What is known about the wren?", "It weighs ten grams."


@pytest.fixture(scope="module")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-base")
    script = Path(__file__).with_name("tiny_base.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.fixture
def run(builder: User, version: Version, tiny_base_folder: Path) -> Run:
    """A run whose recipe can really be repeated."""
    facts = vars(read_base_folder(tiny_base_folder)) | {"name": "Tiny"}
    base = BaseModel.objects.create(slug="tiny", source=str(tiny_base_folder), **facts)
    chosen = {"epochs": 40, "rank": 8, "max_length": 160, "checkpoint_every_steps": 1000}
    recipe = make_recipe(base, "quick", chosen)
    return Run.objects.create(
        builder=builder, name="Birds", version=version, base=base, effort="quick",
        recipe=recipe, seed=recipe["seed"], training_row_count=5,
    )  # fmt: skip


@pytest.fixture
def trained_run(run: Run) -> Run:
    """Settled, with the adapter that its recipe makes of all rows."""
    lease = lease_of()
    whole = retrain_without(lease, run, [])
    keep_adapter(whole.adapter_folder, whole.adapter_digest)
    Run.objects.filter(pk=run.pk).update(adapter_digest=whole.adapter_digest, settled_at=Now())
    Job.objects.filter(pk=lease.job.pk).update(state="succeeded", lease_until=None)
    run.refresh_from_db()
    return run


def lease_of() -> Lease:
    """A running job of no kind in particular."""
    fields = {"state": "running", "attempt": 1, "lease_until": Now()}
    return Lease(
        Job.objects.create(kind="tests.audit", queue="ml", subject=str(uuid.uuid4()), **fields)
    )


def row_about(words: str) -> str:
    return str(Record.objects.get(instruction__contains=words).public_id)


def words_on_disk() -> Iterator[Path]:
    for path in Path(settings.RUNS_DIR).rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if any(row.response.encode() in content for row in Record.objects.all()):
            yield path


def measured(run: Run, record_ids: list[str]) -> object:
    tokenizer = Tokenizer.from_file(str(Path(run.base.source) / "tokenizer.json"))
    messages = [{"role": "user", "content": QUESTION}]
    response_ids = [*tokenizer.encode(ANSWER).ids, 1]
    return audit_removal(
        lease_of(), run, record_ids, messages=messages, response_ids=response_ids, seed="s"
    )


def test_an_answer_loses_more_by_its_own_row_than_by_another(trained_run: Run) -> None:
    found = measured(trained_run, [row_about("wren")])
    own, other = found.log_probability - found.without, found.log_probability - found.yardstick
    assert own > abs(other)
    assert (found.record_count, found.yardstick_count, found.rows_changed) == (1, 1, False)
    assert len({trained_run.adapter_digest, found.without_digest, found.yardstick_digest}) == 3
    assert not list(Path(settings.RUNS_DIR).glob("audit-*"))


def test_a_retraining_leaves_no_text_and_is_not_repeated_by_a_second_attempt(run: Run) -> None:
    lease = lease_of()
    first = retrain_without(lease, run, [row_about("wren")])
    assert not list(words_on_disk())
    second = retrain_without(lease, run, [row_about("wren")])
    assert first == second
    assert lease.job.events.filter(kind="loading").count() == 1


def test_an_audit_that_is_stopped_leaves_nothing_behind(run: Run) -> None:
    lease = lease_of()
    Job.objects.filter(pk=lease.job.pk).update(cancel_requested=True)
    with pytest.raises(JobCancelled):
        audit_removal(lease, run, [row_about("wren")], messages=[], response_ids=[1], seed="s")
    assert not list(Path(settings.RUNS_DIR).glob("audit-*"))


def test_without_any_row_there_is_nothing_to_train(run: Run) -> None:
    everything = [str(row.public_id) for row in Record.objects.all()]
    with pytest.raises(JobFailed, match="nothing left"):
        retrain_without(lease_of(), run, everything)


def test_what_a_killed_audit_left_is_removed_by_the_next_one(run: Run) -> None:
    ended, going = lease_of().job, lease_of().job
    Job.objects.filter(pk=ended.pk).update(state="failed", lease_until=None)
    for job in (ended, going):
        (Path(settings.RUNS_DIR) / f"audit-{job.pk}").mkdir(parents=True)
    remove_finished_audits()
    left = {path.name for path in Path(settings.RUNS_DIR).glob("audit-*")}
    assert left == {f"audit-{going.pk}"}


def test_the_yardstick_is_chosen_by_its_seed_among_the_other_rows(run: Run) -> None:
    asked = [row_about("wren"), row_about("tern")]
    chosen = [other_records(run, asked, seed) for seed in ("a", "a", "b", "c", "d")]
    assert chosen[0] == chosen[1]
    assert len({tuple(rows) for rows in chosen}) > 1
    assert not {*asked} & {row for rows in chosen for row in rows}
    assert {len(rows) for rows in chosen} == {2}
