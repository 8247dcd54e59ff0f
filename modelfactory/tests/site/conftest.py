"""A version of two contributors' rows, a base to start from, and runs in every state."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from datanets.content import Content, content_hash
from datanets.models import Contribution, Datanet, Record, Version, VersionRecord
from datanets.wordings import held_out_wordings, training_wordings
from modelfactory.models import BaseModel, EvaluationResult, Model, Run
from modelfactory.services import TRAIN_JOB, publish_model, read_base_folder, start_run
from modelfactory.services.plan import make_recipe
from openledger_site.accounts.models import User
from openledger_site.core.jobs import start_job

FACTS = {
    "Carla": {"tern": "lays two eggs", "wren": "weighs ten grams", "kite": "eats carrion"},
    "Olive": {"rook": "nests in elms", "dove": "drinks by sucking"},
}


@pytest.fixture(autouse=True)
def local_folders(settings: LazySettings, tmp_path: Path) -> None:
    """Runs, adapters and indexes of a test live in its own folder."""
    for name in ("RUNS_DIR", "ADAPTERS_DIR", "ATTRIBUTION_DIR", "GUARDS_DIR"):
        setattr(settings, name, tmp_path / "media" / name.removesuffix("_DIR").lower())


def make_version(owner: User, people: dict[str, User], **fields: Any) -> Version:
    """A version whose rows are `FACTS`, with wordings made by rule."""
    datanet = Datanet.objects.create(
        slug=fields.pop("slug", "birds"), name="Birds", owner=owner, licence="CC0-1.0", **fields
    )
    records = [
        record
        for name, facts in FACTS.items()
        for record in _contribute(datanet, people[name], facts)
    ]
    version = Version.objects.create(
        datanet=datanet,
        number=1,
        manifest_digest="a" * 64,
        merkle_root="b" * 64,
        record_count=len(records),
        train_count=len(records),
        created_by=owner,
    )
    for position, record in enumerate(records):
        VersionRecord.objects.create(
            version=version,
            record=record,
            position=position,
            leaf_hash=f"{position:064x}",
            split=VersionRecord.Split.TRAIN,
            held_out_wordings=[w.text for w in held_out_wordings(record.instruction)],
        )
    return version


def _contribute(datanet: Datanet, person: User, facts: dict[str, str]) -> list[Record]:
    contribution = Contribution.objects.create(
        datanet=datanet,
        contributor=person,
        title="birds",
        file_digest="c" * 64,
        size_bytes=1,
        state=Contribution.State.DECIDED,
        licence="CC0-1.0",
        agreement_version="1",
    )
    return [
        _record(contribution, position, f"What is known about the {bird}?", f"It {fact}.")
        for position, (bird, fact) in enumerate(facts.items(), start=1)
    ]


def _record(contribution: Contribution, position: int, question: str, answer: str) -> Record:
    content = Content(kind="instruction", instruction=question, response=answer)
    digest = content_hash(content)
    return Record.objects.create(
        contribution=contribution,
        datanet=contribution.datanet,
        position=position,
        kind=Record.Kind.INSTRUCTION,
        instruction=question,
        response=answer,
        wordings={"training": [w.text for w in training_wordings(question)]},
        content_hash=digest,
        fingerprint=digest,
        prompt_fingerprint=digest,
        salt=hashlib.sha256(question.encode()).digest(),
        state=Record.State.APPROVED,
    )


@pytest.fixture
def version(owner: User, contributor: User) -> Version:
    return make_version(owner, {"Carla": contributor, "Olive": owner})


@pytest.fixture
def private_version(owner: User, contributor: User) -> Version:
    people = {"Carla": contributor, "Olive": owner}
    return make_version(owner, people, slug="secret-birds", visibility="private")


@pytest.fixture
def base(db: None) -> BaseModel:
    """A row only: for pages and rules, not for training."""
    return BaseModel.objects.create(
        slug="small", name="Small", source="small", digest="d" * 64, parameter_count=1_000_000,
        size_bytes=4_000_000, context_tokens=256, hidden_size=64, layer_count=2,
        vocabulary_size=512,
    )  # fmt: skip


@pytest.fixture
def run(builder: User, version: Version, base: BaseModel) -> Run:
    """Queued: its job waits for a trainer."""
    return start_run(builder=builder, name="Birds", version=version, base=base, effort="quick")


def settle(run: Run, digest: str = "e" * 64) -> Run:
    """Give `run` a result without training it."""
    from django.db.models.functions import Now

    entry = run.version.entries.first()
    assert entry is not None
    for position, correct in enumerate((True, False, True)):
        EvaluationResult.objects.create(
            run=run, position=position, retrieved=False, record_id=str(entry.record.public_id),
            question="Wren, weight?", expected="Ten grams.", base_answer="no",
            tuned_answer="Ten grams.", base_correct=False, tuned_correct=correct,
        )  # fmt: skip
    Run.objects.filter(pk=run.pk).update(adapter_digest=digest, settled_at=Now())
    run.refresh_from_db()
    return run


PRICES = {"price_prompt_wei": 10**16, "price_completion_wei": 2 * 10**16, "platform_fee_wei": 1}


@pytest.fixture
def settled_run(run: Run) -> Run:
    return settle(run)


@pytest.fixture
def make_model(settled_run: Run) -> Callable[..., Model]:
    def make(visibility: str = "public") -> Model:
        return publish_model(
            settled_run, name="Birds", slug="birds", card="# Hi", visibility=visibility, **PRICES
        )

    return make


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

    def make(epochs: int, epsilon: float | None = None) -> Run:
        chosen = {"epochs": epochs, "checkpoint_every_steps": 4, "rank": 2, "max_length": 160}
        recipe = make_recipe(tiny_base, "quick", chosen, epsilon=epsilon, record_count=5)
        run = Run.objects.create(
            builder=builder, name="Birds", version=version, base=tiny_base, effort="quick",
            recipe=recipe, seed=recipe["seed"], training_row_count=5,
        )  # fmt: skip
        subject, payload = f"run:{run.public_id}", {"run_id": str(run.public_id)}
        run.job = start_job(TRAIN_JOB, queue="ml", subject=subject, owner=builder, payload=payload)
        run.save(update_fields=["job"])
        return run

    return make
