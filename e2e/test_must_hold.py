"""What must hold whatever is killed, repeated or sent, on a running site of its own.

Own site, because these tests kill its processes; real processes, real chain, real training.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from e2e.browser import until
from e2e.demo import steps
from e2e.demo.person import Person, wait_for
from e2e.machine import PeakMemory, Watch, find, hostile_files, processes, rows
from e2e.site import Site, make_site
from openledger_site.core.local.processes import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
GIGABYTE = 1 << 30
RESUMED_SECONDS_MAX = 90
GONE_SECONDS_MAX = 30
TRAINING_SECONDS_MAX = 400
TERMS = {"licence": "PSF-2.0", "agree": "on"}


def new_site(folder: Path) -> Site:
    """A site whose temporary files are in a folder that nobody else uses."""
    folder.chmod(0o755)  # PostgreSQL drops to a user of its own when started as root
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    # Ports of its own too: another site on this machine may take the usual ones once we let go.
    ports = {name: f"http://127.0.0.1:{free_port(0)}" for name in ("SITE_URL", "ENGINE_URL")}
    return make_site(folder / "local", TMPDIR=str(temporary), **ports)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="openledger-hold-") as name:
        running = new_site(Path(name))
        running.folder.mkdir()
        running.folder.chmod(0o755)
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def stage(site: Site) -> Iterator[steps.Stage]:
    """The demo's people with reviewed data, a cut version and a funded consumer."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in site.child_environment().items():
            patch.setenv(name, value)
        made = steps.Stage(site.url)
        for step in (
            steps.sign_up, steps.link_wallets, steps.open_datanet, steps.upload, steps.review,
            steps.cut_version, steps.deposit,
        ):  # fmt: skip
            step(made)
        yield made


def job_of(watch: Watch, run: str) -> dict[str, Any]:
    return watch.one(
        "select j.* from modelfactory_run r join core_job j on j.id = r.job_id"
        " where r.public_id = %s", run,
    )  # fmt: skip


def events_of(watch: Watch, run: str, kind: str, attempt: int) -> list[dict[str, Any]]:
    job = job_of(watch, run)["id"]
    return rows(
        watch, "select * from core_jobevent where job_id = %s and kind = %s and attempt = %s"
        " order by id", job, kind, attempt,
    )  # fmt: skip


@pytest.fixture(scope="module")
def watch(site: Site) -> Iterator[Watch]:
    with Watch(site.child_environment()["DATABASE_URL"]) as open_watch:
        yield open_watch


@pytest.fixture(scope="module")
def survivor(site: Site, stage: steps.Stage, watch: Watch) -> dict[str, Any]:
    """A run whose training process, and then whose worker, was killed at a checkpoint."""
    stage.run = start_run(stage, "Python, explained")
    run = stage.run.strip("/").rpartition("/")[2]
    facts: dict[str, Any] = {"run": run}
    for attempt, victim in enumerate(("modelfactory.training", "trainer@"), start=1):
        wait_for(
            "a checkpoint", lambda a=attempt: events_of(watch, run, "checkpoint", a),
            TRAINING_SECONDS_MAX,
        )  # fmt: skip
        kill(site, victim)
        killed = time.monotonic()
        saved = events_of(watch, run, "checkpoint", attempt)[-1]["data"]["step"]
        resumed = wait_for(
            "the run to resume", lambda a=attempt: events_of(watch, run, "resumed", a + 1), 120
        )
        seconds = time.monotonic() - killed
        facts[victim] = (seconds, saved, resumed[0]["data"]["step"])
    wait_for("the result", lambda: job_of(watch, run)["state"] == "succeeded", TRAINING_SECONDS_MAX)
    return facts


def start_run(stage: steps.Stage, name: str, **form: str) -> str:
    choice = {"version": stage.version.strip("/").rpartition("/")[2], "base": "openledger-base"}
    page = stage.builder.post(
        "/factory/runs/start/", {"name": name, "effort": "quick", **choice, **form}
    )
    return str(page.url.path)


def kill(site: Site, what: str) -> None:
    for pid in find(site, what):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def model(stage: steps.Stage, survivor: dict[str, Any]) -> str:
    steps.publish(stage)
    return stage.model


@pytest.fixture(scope="module")
def client(site: Site, stage: steps.Stage, model: str) -> openai.OpenAI:
    key = stage.consumer.make_api_key()
    return openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0, timeout=120)


@pytest.mark.parametrize("victim", ["modelfactory.training", "trainer@"])
def test_a_killed_run_goes_on_from_its_last_checkpoint_in_time(
    survivor: dict[str, Any], victim: str
) -> None:
    seconds, saved, resumed = survivor[victim]
    print(f"{victim}: resumed after {seconds:.1f} s, at step {resumed} of {saved} saved")
    assert seconds < RESUMED_SECONDS_MAX
    assert resumed >= saved


def test_a_killed_run_is_settled_once(survivor: dict[str, Any], site: Site, watch: Watch) -> None:
    run = survivor["run"]
    settled = rows(
        watch, "select * from core_auditentry where action = 'run.settled' and subject = %s",
        f"run:{run}",
    )  # fmt: skip
    assert len(settled) == 1
    assert (job_of(watch, run)["state"], job_of(watch, run)["attempt"]) == ("succeeded", 3)
    digest = settled[0]["data"]["adapter"]
    (index,) = rows(
        watch,
        "select * from modelfactory_attributionindex where adapter_digest = %s",
        digest,
    )
    adapters = site.folder / "media" / "adapters"
    kept = {path.name for path in adapters.iterdir() if path.name[0] != "."}
    assert kept == {digest, *index["trail_digests"]}


def test_a_settled_run_leaves_no_rows_text_on_disk(survivor: dict[str, Any], site: Site) -> None:
    assert not (site.folder / "media" / "runs" / survivor["run"]).exists()


def at_once(send: Callable[[int], Any], count: int = 10) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(send, range(count)))


def ten_posts(person: Person, path: str, data: dict[str, str], **options: Any) -> set[int]:
    """The same form ten times at once; the statuses that came back, before any redirect."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = at_once(
        lambda _: person.send(path, data, headers=key, follow_redirects=False, **options)
    )
    return {answer.status_code for answer in answers}


def test_ten_starts_of_one_run_start_it_once(stage: steps.Stage, watch: Watch) -> None:
    choice = {"version": stage.version.strip("/").rpartition("/")[2], "base": "openledger-base"}
    form = {"name": "Ten at once", "effort": "quick", **choice}
    assert ten_posts(stage.curator, "/factory/runs/start/", form) == {302}
    started = rows(watch, "select public_id from modelfactory_run where name = 'Ten at once'")
    for run in started:  # nobody needs its result
        stage.curator.post(f"/factory/runs/{run['public_id']}/stop/")
    assert len(started) == 1


def test_ten_uploads_of_one_file_give_one_contribution(stage: steps.Stage, watch: Watch) -> None:
    content = b'{"question": "What is tenfold?", "answer": "Ten times as much."}\n'
    path = f"{stage.datanet}contribute/"
    statuses = ten_posts(stage.ben, path, TERMS, files={"file": ("tenfold.jsonl", content)})
    found = rows(watch, "select * from datanets_contribution where filename = 'tenfold.jsonl'")
    assert (statuses, len(found)) == ({302}, 1)


def test_ten_cuts_of_one_version_cut_it_once(stage: steps.Stage, watch: Watch) -> None:
    path, form = f"{stage.datanet}versions/", {"note": "Ten at once"}
    statuses = ten_posts(stage.curator, path, form)
    found = rows(watch, "select * from datanets_version where note = 'Ten at once'")
    assert (statuses, len(found)) == ({302}, 1)


def test_ten_questions_under_one_key_are_paid_once(
    client: openai.OpenAI, model: str, watch: Watch
) -> None:
    key = str(uuid.uuid4())
    asked = {"model": model, "messages": [{"role": "user", "content": steps.QUESTIONS[0]}]}

    def ask(_: int) -> int:
        try:
            client.chat.completions.create(**asked, extra_headers={"Idempotency-Key": key})
        except openai.ConflictError:
            return 409
        return 200

    statuses = at_once(ask)
    found = rows(watch, "select * from marketplace_inference where idempotency_key = %s", key)
    assert 200 in statuses
    assert len(found) == 1


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, str]]:
    return hostile_files(tmp_path_factory.mktemp("hostile"))


CASES = ["not UTF-8", "300 MB line", "zip bomb", "100,000 columns", "nested 100,000 deep"]


@pytest.mark.parametrize("case", [*CASES, "parquet bomb"])
def test_a_bad_upload_is_refused_by_name_in_little_memory_and_leaves_nothing(
    site: Site, stage: steps.Stage, watch: Watch, hostile: dict[str, Any], case: str
) -> None:
    path, status, place = hostile[case]
    before = stored(site, watch)
    with PeakMemory(site) as memory, path.open("rb") as file:
        answer = stage.ada.send(
            f"{stage.datanet}contribute/", TERMS, files={"file": (path.name, file)},
            headers={"Accept": "application/json"},
        )  # fmt: skip
    error = answer.json()["error"]
    print(f"{case}: {error['message']} peak {memory.peak_bytes >> 20} MB ({memory.peak_name})")
    assert (answer.status_code, place in error["where"]) == (status, True)
    assert memory.peak_bytes < GIGABYTE
    # The web process deletes the file it was sent once the refusal has left.
    until(lambda: stored(site, watch) == before, 10)


def stored(site: Site, watch: Watch) -> dict[str, Any]:
    """Rows by table and the names of files, where an upload could have left something."""
    tables = ("datanets_contribution", "datanets_record")
    counts = {table: len(rows(watch, f"select id from {table}")) for table in tables}  # noqa: S608
    uploads = [site.folder / "media" / name for name in ("blobs", "incoming")]
    files = {str(path) for folder in uploads for path in folder.rglob("*") if path.is_file()}
    ours = ("openledger", "upload", "tmp")
    temporary = Path(site.environment["TMPDIR"])
    left = {
        path.name for path in temporary.iterdir() if ours[0] in path.name or "upload" in path.name
    }
    return counts | {"files": files, "temporary": left}


def test_a_chat_whose_engine_dies_is_billed_for_what_came(
    site: Site, stage: steps.Stage, client: openai.OpenAI, model: str, watch: Watch
) -> None:
    inference, text = cut_off(site, client, model, watch)
    assert inference["error_code"] == "engine_unavailable"
    assert inference["completion_tokens"] == len(inference["response_ids"]) > 0
    assert inference["answer"] == text
    price = watch.one("select * from modelfactory_model where slug = %s", model)
    assert int(inference["fee_wei"]) == fee_of(price, inference)
    wait_for("the books", lambda: hold_state(watch, inference["id"]) == "posted", 120)
    wait_for("the engine", lambda: answers(client, model), 120)


def cut_off(
    site: Site, client: openai.OpenAI, model: str, watch: Watch
) -> tuple[dict[str, Any], str]:
    """Kill the engine after the first words of an answer; some answers are over before that."""
    for attempt in range(8):
        stream = client.chat.completions.create(
            model=model, stream=True, max_tokens=1024, temperature=2, seed=attempt,
            messages=[{"role": "user", "content": f"Tell me everything, part {attempt}."}],
        )  # fmt: skip
        identity, text = "", ""
        try:
            for chunk in stream:
                identity = chunk.id
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                if text:
                    kill(site, "modelfactory.serving")
        except (openai.APIError, httpx.HTTPError):
            public_id = str(uuid.UUID(identity.removeprefix("chatcmpl-")))
            return ended(watch, public_id), text
        wait_for("the engine", lambda: answers(client, model), 120)
    raise AssertionError("every answer was over before the engine was gone")


def ended(watch: Watch, public_id: str) -> dict[str, Any]:
    """The answer's row, once the site has written down how it ended."""

    def look() -> dict[str, Any] | None:
        row = watch.one("select * from marketplace_inference where public_id = %s", public_id)
        return row if row["state"] != "answering" else None

    return wait_for("the answer's end to be booked", look, 60)


def fee_of(price: dict[str, Any], inference: dict[str, Any]) -> int:
    from modelfactory.services.pricing import fee_wei

    return fee_wei(
        prompt_tokens=inference["prompt_tokens"],
        completion_tokens=inference["completion_tokens"],
        price_prompt_wei=int(price["price_prompt_wei"]),
        price_completion_wei=int(price["price_completion_wei"]),
        platform_fee_wei=int(price["platform_fee_wei"]),
    )


def hold_state(watch: Watch, inference_id: int) -> str:
    return str(
        watch.one(
            "select h.state from rewards_hold h join marketplace_inference i on i.hold_id = h.id"
            " where i.id = %s", inference_id,
        )["state"]
    )  # fmt: skip


def answers(client: openai.OpenAI, model: str) -> Any:
    try:
        asked = [{"role": "user", "content": steps.QUESTIONS[0]}]
        return client.chat.completions.create(model=model, messages=asked, max_tokens=4)  # type: ignore[arg-type] # plain dicts are what people send
    except openai.APIError:
        return None


def test_an_answer_is_settled_once_though_the_web_process_dies(
    site: Site, client: openai.OpenAI, model: str, watch: Watch
) -> None:
    answer = frozen(site, watch, lambda: wait_for("an answer", lambda: answers(client, model), 60))
    identity = answer.model_extra["openledger"]["inference"]
    settlement = wait_for("the receipt", lambda: settlements(watch, identity), 120)
    assert len(settlement) == 1
    wait_for("the site", lambda: answers(client, model), 60)
    report = json.loads(site.manage("reconcile", "--json").stdout)
    assert (report["ok"], report["unexplained_wei"]) == (True, 0)


def unfinished(watch: Watch) -> list[dict[str, Any]]:
    return rows(watch, "select id from core_job where state in (%s, %s)", "queued", "running")


def frozen(site: Site, watch: Watch, ask: Callable[[], Any]) -> Any:
    """Ask while nothing can settle, kill the web process, then let the settling go on."""
    # Frozen in the middle of a transaction it would keep that transaction's locks from everybody.
    wait_for("the jobs to end", lambda: not unfinished(watch), 120)
    workers = find(site, "attribution@")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = ask()
        kill(site, "uvicorn")
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    return answer


def settlements(watch: Watch, identity: str) -> list[dict[str, Any]]:
    sql = (
        "select s.* from rewards_settlement s join marketplace_inference i on i.hold_id = s.hold_id"
    )
    return rows(watch, f"{sql} where i.public_id = %s and i.state = 'settled'", identity)


def test_nothing_of_the_site_is_left_after_ctrl_c_nor_after_a_kill() -> None:
    """Killed first, then started again on what that left, then stopped as people stop it."""
    with tempfile.TemporaryDirectory(prefix="openledger-stop-") as name:
        site = new_site(Path(name))
        site.folder.mkdir()
        site.folder.chmod(0o755)
        for number in (signal.SIGKILL, signal.SIGINT):
            site.start()
            addresses = [site.environment[name] for name in ("SITE_URL", "ENGINE_URL")]
            assert all(listens(address) for address in addresses)
            site.process.send_signal(number)
            site.process.wait(GONE_SECONDS_MAX)
            assert left_after(GONE_SECONDS_MAX, site) == {}
            assert not [address for address in addresses if listens(address)]
        # The database package locks on a file that it never removes.
        assert {path.name for path in Path(site.environment["TMPDIR"]).iterdir()} <= {".lockfile"}


def left_after(seconds: float, site: Site) -> dict[int, str]:
    """The processes of the site that are still there when the time is over."""
    deadline = time.monotonic() + seconds
    while (left := processes(site)) and time.monotonic() < deadline:
        time.sleep(0.25)
    return left


def listens(address: str) -> bool:
    host, _, port = address.rpartition("//")[2].partition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0
