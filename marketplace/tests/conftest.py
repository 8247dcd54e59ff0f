"""A published model with a real adapter, index and engine; people with money; a live web."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django.fixtures import Settings

from datanets.models import Record
from datanets.wordings import training_wordings
from marketplace.models import Agent, Inference
from marketplace.services import Answering, Sampling, finish_answer, make_agent, reserve_answer
from marketplace.services.stream_answer import Meter
from modelfactory.models import AttributionIndex, BaseModel, Model, Run
from modelfactory.services import publish_model, read_base_folder, start_run
from modelfactory.tests.site.conftest import FACTS, make_version
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from openledger_site.core.jobs import run_job, start_job
from openledger_site.core.models import Job
from rewards.chain.staking import target_id
from rewards.models import Account, StakeTarget
from rewards.services.ledger import post, system_account, user_account

OPEN = 10**18
ROOT = Path(site_settings.BASE_DIR)
BASE = Path(site_settings.BASE_MODELS_DIR) / "openledger-base"
TOKEN = "engine-token-of-the-tests"
PRICES = {
    "price_prompt_wei": 10**16 + 7,
    "price_completion_wei": 2 * 10**16 + 3,
    "platform_fee_wei": 10**14 + 1,
}
ROWS = [
    (f"What is known about the {bird}?", f"It {fact}.")
    for facts in FACTS.values()
    for bird, fact in facts.items()
]


def record_id(question: str) -> uuid.UUID:
    """The same in every test: the index on disk names its records."""
    return uuid.uuid5(uuid.NAMESPACE_URL, question)


@dataclass(frozen=True)
class World:
    """`prompt_ids` and `response_ids` are those of a training row that its own answer points to."""

    folder: Path
    adapter_digest: str
    index_digest: str
    question: str
    answer: str
    prompt_ids: list[int]
    response_ids: list[int]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("market") / "media"
    folder.mkdir()
    with (folder / "records.jsonl").open("w") as lines:
        for question, answer in ROWS:
            for wording in (question, *(w.text for w in training_wordings(question))):
                row = {"record_id": str(record_id(question)), "prompt": wording, "response": answer}
                lines.write(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "modelfactory.tests.market_world", str(folder), str(BASE)]
    made = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return World(folder, **json.loads(made.stdout.splitlines()[-1]))


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.RUNS_DIR = tmp_path / "media" / "runs"
    settings.GUARDS_DIR = tmp_path / "media" / "guards"
    settings.SECRET_KEY = "a-secret-key-of-the-tests"


@pytest.fixture
def folders(world: World, settings: Settings, tmp_path: Path) -> None:
    """Indexes that a test may change, as a withdrawal does; the adapters stay where they are."""
    # Heartbeats come over another connection, which does not see this test's transaction.
    settings.JOB_HEARTBEAT_SECONDS, settings.JOB_LEASE_SECONDS = 3_000, 6_000
    shutil.copytree(world.folder / "attribution", tmp_path / "attribution")
    settings.ADAPTERS_DIR = world.folder / "adapters"
    settings.ATTRIBUTION_DIR = tmp_path / "attribution"


@pytest.fixture
def make_model(
    world: World, folders: None, owner: User, contributor: User, builder: User
) -> Callable[..., Model]:
    def make(visibility: str = "public", **prices: int) -> Model:
        version = make_version(owner, {"Carla": contributor, "Olive": owner})
        for row in Record.objects.all():
            Record.objects.filter(pk=row.pk).update(public_id=record_id(row.instruction))
        base = BaseModel.objects.create(
            slug="shipped", source=str(BASE), **vars(read_base_folder(BASE)) | {"name": "Shipped"}
        )
        run = start_run(builder=builder, name="Birds", version=version, base=base, effort="quick")
        Run.objects.filter(pk=run.pk).update(adapter_digest=world.adapter_digest, settled_at=Now())
        AttributionIndex.objects.create(
            adapter_digest=world.adapter_digest, run=run, digest=world.index_digest, ready_at=Now()
        )
        fields = {"name": "Birds", "slug": "birds", "card": "", "visibility": visibility}
        return publish_model(run, **fields, **PRICES | prices)

    return make


@pytest.fixture
def model(make_model: Callable[..., Model]) -> Model:
    return make_model()


def give_money(user: User, amount_wei: int) -> None:
    legs = [
        (system_account(Account.Kind.CUSTODY), -amount_wei),
        (user_account(user, Account.Kind.SPENDABLE), amount_wei),
    ]
    post(key=f"deposit:{uuid.uuid4()}", kind="deposit", legs=legs, reason="Deposit")


@pytest.fixture
def payer(consumer: User) -> User:
    """Quinn, with ten OPEN."""
    give_money(consumer, 10 * OPEN)
    return consumer


@pytest.fixture
def ask(model: Model, payer: User, world: World) -> Callable[..., Inference]:
    """Reserve an answer as the doors do."""

    def reserve(question: str = "", **fields: Any) -> Inference:
        messages = [{"role": "user", "content": question or world.question}]
        given = {"consumer": payer, "model": model, "sampling": Sampling(), "channel": "api"}
        return reserve_answer(messages=messages, **given | fields)[0]

    return reserve


def delivered(inference: Inference, world: World) -> Inference:
    """The words of a training row, as the engine would give them."""
    prompt, response = world.prompt_ids, world.response_ids
    meter = Meter([world.answer], prompt, response, len(prompt), len(response), "stop")
    finish_answer(inference.pk, meter)
    inference.refresh_from_db()
    return inference


@pytest.fixture
def answered(ask: Callable[..., Inference], world: World) -> Inference:
    """An answer made of a training row's own words, so that its contributor stands out."""
    return delivered(ask(), world)


def index_being_built() -> None:
    """As right after training: its first index is under way."""
    job = start_job("modelfactory.index", queue="attribution", subject="adapter:new")
    AttributionIndex.objects.update(ready_at=None, job=job)


def run_attempt(inference: Inference, attempt: int = 1) -> None:
    """Do what a worker does with the answer's job, as its `attempt`-th try."""
    Job.objects.filter(pk=inference.job_id).update(attempt=attempt - 1)
    run_job(str(inference.job_id))
    inference.refresh_from_db()


@pytest.fixture
def settled(answered: Inference) -> Inference:
    run_attempt(answered)
    assert answered.settled, answered.job and answered.job.message
    return answered


@pytest.fixture
def secret(payer: User) -> str:
    return create_api_key(payer, name="tests", scopes=["inference"])[1]


@pytest.fixture
def as_user() -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def engine_url(world: World) -> Iterator[str]:
    """The real engine, over the shipped base and the adapter of `world`."""
    command = [sys.executable, "-m", "modelfactory.serving", "--base", str(BASE)]
    command += ["--adapters", str(world.folder / "adapters"), "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "ENGINE_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def read(
    model: Model, payer: User, as_user: Callable[[User], Client], engine_url: str, world: World,
    settings: Settings,
) -> Inference:  # fmt: skip
    """An answer that the real engine gave with rows to read; its attribution is pending."""
    settings.ENGINE_URL, settings.ENGINE_TOKEN = engine_url, TOKEN
    chat = f"/marketplace/models/{model.slug}/chat/"
    as_user(payer).post(chat, {"prompt": "What is known about the tern?"})
    return Inference.objects.select_related("job").get()


@pytest.fixture(scope="session")
def live_url(
    world: World, engine_url: str, django_db_setup: None, django_db_blocker: Any
) -> Iterator[str]:
    """The real web process over the tests' database: uvicorn, as `make run` starts it."""
    with django_db_blocker.unblock():
        database = connection.settings_dict
        name, host = database["NAME"], database["HOST"] or database["OPTIONS"].get("host", "")
    login = f"{database['USER'] or 'postgres'}:{database['PASSWORD'] or ''}"
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{login}@/{name}?host={host}",
        "OPENLEDGER_LOCAL_DIR": str(world.folder.parent),
        "SECRET_KEY": "a-secret-key-of-the-tests",
        "SITE_URL": f"http://127.0.0.1:{port}",
        "ENGINE_URL": engine_url,
        "ENGINE_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "uvicorn", "openledger_site.asgi:application", "--port"]
    with (world.folder.parent / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(port), "--lifespan", "off"],
            env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 # our own
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("The web process did not start.")


@pytest.fixture
def make_bot(model: Model, stranger: User) -> Callable[..., Agent]:
    """An agent over Bo's model, made by Sam, who owns neither the model nor its rows."""

    def make(
        instructions: str = "",
        rows: str = "look_up",
        max_tokens: int = 64,
        maker_ppm: int = 0,
        **shown: Any,
    ) -> Agent:
        said = {"name": "Bird guide", "slug": "guide", "summary": "Tells of birds."}
        answering = Answering(instructions, rows, max_tokens, maker_ppm)
        return make_agent(owner=stranger, model=model, answering=answering, **said | shown)

    return make


@pytest.fixture
def bot(make_bot: Callable[..., Agent]) -> Agent:
    return make_bot()


def stake_on(subject: str) -> None:
    """As the watcher reads it from final blocks; the way through the chain is tested in rewards."""
    StakeTarget.objects.create(
        chain_id=site_settings.CHAIN_ID,
        target=target_id(subject),
        subject=subject,
        bonded_wei=OPEN,
        bonded_shares=OPEN,
    )
