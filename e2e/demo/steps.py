"""The loop, step by step. Each step returns the figures it prints, or raises `StepFailed`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from openai import OpenAI

from e2e.demo.person import PASSWORD, Person, StepFailed, text_of, wait_for
from rewards.chain.calls import (
    approve_call,
    claim_call,
    deposit_call,
    transfer_native_call,
)
from rewards.chain.client import ChainClient
from rewards.chain.contracts import send_and_wait
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, development_account
from rewards.chain.transactions import Signer

SAMPLE = Path(__file__).parent / "sample"
OPEN = 10**18
DEPOSIT_WEI = 5 * OPEN
# Asked in words that no training row uses; one about each contributor's file.
QUESTIONS = (
    "In plain words, explain ZeroDivisionError.",
    "In plain words, explain the HTTP status Not Found.",
)
TRAINING_SECONDS_MAX = 300


class Stage:
    """What the steps hand on: the people, the chain, and where things are."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.ada = Person(site, "Ada")
        self.ben = Person(site, "Ben")
        self.curator = Person(site, "Cleo")
        self.builder = Person(site, "Dora")
        self.consumer = Person(site, "Emil")
        self.people = [self.ada, self.ben, self.curator, self.builder, self.consumer]
        self.contributors = [self.ada, self.ben]
        self.client = ChainClient(os.environ["CHAIN_RPC_URL"], DEVELOPMENT_CHAIN_ID)
        self.contracts: dict[str, str] = {}
        self.datanet = self.version = self.run = self.model = ""
        self.answers: list[str] = []

    def how_to_look_around(self) -> str:
        people = "\n".join(f"  {person.name:<5} {person.email}" for person in self.people)
        return f"\nSign in as any of the five (password: {PASSWORD}):\n{people}"


def sign_up(stage: Stage) -> dict[str, Any]:
    for person in stage.people:
        person.sign_up()
    return {"people": ", ".join(person.name for person in stage.people)}


def link_wallets(stage: Stage) -> dict[str, Any]:
    payees = [*stage.contributors, stage.builder, stage.consumer]
    for person in payees:
        person.link_wallet(DEVELOPMENT_CHAIN_ID)
    return {"wallets linked by signature": len(payees)}


def open_datanet(stage: Stage) -> dict[str, Any]:
    page = stage.curator.post(
        "/datanets/new/",
        {
            "name": f"Python, explained {int(time.time())}",
            "description": "What errors and statuses mean, from Python's own documentation.",
            "guidelines": "One fact a row. The answer must be in Python's documentation.",
            "visibility": "public",
            "licence": "PSF-2.0",
        },
    )
    stage.datanet = page.url.path
    return {"datanet": stage.site + stage.datanet}


def upload(stage: Stage) -> dict[str, Any]:
    files = ("python-exceptions.csv", "http-statuses.jsonl")
    figures = {}
    for person, name in zip(stage.contributors, files, strict=True):
        page = person.post(
            f"{stage.datanet}contribute/",
            {"licence": "PSF-2.0", "agree": "on"},
            files={"file": (name, (SAMPLE / name).read_bytes())},
        )
        figures[f"{person.name} sent {name}"] = _rows_of(person, page.url.path)
    return figures


def _rows_of(person: Person, path: str) -> str:
    def look() -> str | None:
        words = text_of(person.get(path).text)
        return words if "in review" in words.lower() or "rejected" in words.lower() else None

    wait_for("the upload to be read", look, 60)
    contribution = path.rstrip("/").rpartition("/")[2]
    report = person.get(f"/datanets/api/contributions/{contribution}/").json()
    if not report["rows_accepted"] or report["rows_rejected"]:
        raise StepFailed(f"Rows were refused: {report}")
    return f"{report['rows_accepted']} of {report['rows_read']} rows accepted"


def review(stage: Stage) -> dict[str, Any]:
    queue = f"{stage.datanet}review/"
    first = stage.curator.get(queue).text
    record = re.search(r"/datanets/records/([0-9a-f-]{36})/review/", first)
    if record is None:
        raise StepFailed("The review queue shows no row.")
    stage.curator.post(f"/datanets/records/{record[1]}/review/", {"verdict": "approve"})
    stage.curator.post(f"{queue}all/", {"verdict": "approve"})
    left = re.search(r"/datanets/records/[0-9a-f-]{36}/review/", stage.curator.get(queue).text)
    if left:
        raise StepFailed("Rows are still waiting after approving all.")
    return {"approved": "one by one, then all that match the filter"}


def cut_version(stage: Stage) -> dict[str, Any]:
    page = stage.curator.post(f"{stage.datanet}versions/", {"note": "First version"})
    stage.version = page.url.path

    def anchored() -> dict[str, Any] | None:
        newest = stage.curator.get(f"/datanets/api{stage.datanet}versions/").json()[0]
        return newest if newest["anchor"]["state"] in ("mined", "final") else None

    version = wait_for("the Merkle root to be on chain", anchored, 60)
    return {
        "records": version["record_count"],
        "root": version["merkle_root"],
        "anchored by": version["anchor"]["transaction"],
    }


def fine_tune(stage: Stage) -> dict[str, Any]:
    wizard = stage.builder.get("/factory/runs/new/?step=base").text
    base = re.search(r'name="base"[^>]*value="([^"]+)"', wizard) or re.search(
        r'value="([^"]+)"[^>]*name="base"', wizard
    )
    page = stage.builder.post(
        "/factory/runs/start/",
        {
            "name": "Python, explained",
            "goal": "Say what Python's errors and HTTP statuses mean.",
            "version": stage.version.rstrip("/").rpartition("/")[2],
            "base": base[1] if base else "openledger-base",
            "effort": "balanced",
        },
    )
    stage.run = page.url.path
    seen: set[str] = set()

    def ended() -> str | None:
        words = text_of(stage.builder.get(f"{stage.run}progress/").text)
        step = re.search(r"Step (\d+)", words)
        if step:
            seen.add(step[1])
        return words if re.search(r"verdict|did not finish|No verdict|Stopped", words) else None

    words = wait_for("the run to end", ended, TRAINING_SECONDS_MAX)
    verdict = re.search(r"answers (\d+) of (\d+) held-out .*?its base answers (\d+)", words)
    if verdict is None:
        raise StepFailed(f"The run has no good verdict: {words[:400]}")
    tuned, questions, base_right = (int(number) for number in verdict.groups())
    return {
        "progress seen live": f"{len(seen)} different steps",
        "held-out rewordings, base": f"{base_right} of {questions} right",
        "held-out rewordings, tuned": f"{tuned} of {questions} right",
    }


def publish(stage: Stage) -> dict[str, Any]:
    slug = f"python-explained-{int(time.time())}"
    page = stage.builder.post(
        f"{stage.run}publish/",
        {
            "name": "Python, explained",
            "slug": slug,
            "card": "Says what Python's errors and HTTP statuses mean.",
            "visibility": "public",
            "price_prompt": "0.01",
            "price_completion": "0.02",
            "platform_fee": "0.0001",
        },
    )
    stage.model = slug

    def ready() -> bool:
        chat = text_of(stage.builder.get(f"/marketplace/models/{slug}/chat/").text)
        return "Almost ready" not in chat

    wait_for("the attribution index", ready, 180)
    return {"model": stage.site + page.url.path}


def deposit(stage: Stage) -> dict[str, Any]:
    """The consumer's own wallet signs and sends the deposit; the site credits it when final."""
    stage.contracts = stage.consumer.get("/rewards/api/contracts").json()
    token, escrow = stage.contracts["token"], stage.contracts["escrow"]
    # The dev chain's faucets: nobody here owns OPEN, or coin for gas, yet.
    faucet = Signer(bytes(development_account(9).key), DEVELOPMENT_CHAIN_ID)
    for person in stage.contributors:
        send_and_wait(stage.client, faucet, transfer_native_call(person.wallet.address, OPEN))
    _manage("dev_faucet", stage.consumer.wallet.address, str(2 * DEPOSIT_WEI // OPEN))
    wait_for(
        "OPEN in the consumer's wallet",
        lambda: stage.client.balance_of(token, stage.consumer.wallet.address) >= DEPOSIT_WEI,
        30,
    )
    wallet = Signer(bytes(stage.consumer.wallet.key), DEVELOPMENT_CHAIN_ID)
    send_and_wait(stage.client, wallet, approve_call(token, escrow, DEPOSIT_WEI))
    receipt = send_and_wait(stage.client, wallet, deposit_call(escrow, DEPOSIT_WEI))

    def credited() -> int | None:
        balance = int(stage.consumer.get("/rewards/api/balance").json()["spendable_wei"])
        return balance if balance >= DEPOSIT_WEI else None

    balance = wait_for("the deposit to be final and credited", credited, 90)
    return {"transaction": receipt.transaction_hash, "balance": f"{balance / OPEN:.4f} OPEN"}


def chat_in_the_page(stage: Stage) -> dict[str, Any]:
    path = f"/marketplace/models/{stage.model}/chat/"
    lines = stage.consumer.post(
        path, {"prompt": QUESTIONS[0]}, headers={"Accept": "application/x-ndjson"}
    ).text.splitlines()
    events = [json.loads(line) for line in lines]
    if events[-1]["type"] != "done":
        raise StepFailed(f"The answer did not end well: {events[-1]}")
    answer = "".join(event["text"] for event in events if event["type"] == "token")
    stage.answers.append(_answer_id(events[-1]["html_url"]))
    return {"asked": QUESTIONS[0], "answered": answer}


def _answer_id(url: str) -> str:
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", url)
    if found is None:
        raise StepFailed(f"No answer id in {url}.")
    return found[0]


def chat_through_the_api(stage: Stage) -> dict[str, Any]:
    client = OpenAI(base_url=f"{stage.site}/v1", api_key=stage.consumer.make_api_key())
    answer = client.chat.completions.create(
        model=stage.model, messages=[{"role": "user", "content": QUESTIONS[1]}]
    )
    stage.answers.append(answer.model_extra["openledger"]["inference"])  # type: ignore[index] # ours
    usage = answer.usage
    return {
        "asked": QUESTIONS[1],
        "answered": answer.choices[0].message.content,
        "metered": f"{usage.prompt_tokens} in, {usage.completion_tokens} out" if usage else "",
        "model id": answer.model,
    }


def attribute(stage: Stage) -> dict[str, Any]:
    """Wait for the receipts; each names the contributor whose file holds the fact."""
    figures: dict[str, Any] = {}
    receipts = [
        wait_for("the receipt", partial(_receipt, stage, answer), 90) for answer in stage.answers
    ]
    with tempfile.TemporaryDirectory() as folder:
        commands = []
        for answer, receipt in zip(stage.answers, receipts, strict=True):
            path = Path(folder) / f"{answer}.json"
            path.write_text(json.dumps(receipt))
            commands.append(("verify_receipt", str(path), "--json"))
        replayed = [json.loads(printed) for printed in _manage_together(*commands)]
        for person, answer, receipt, result in zip(
            stage.contributors, stage.answers, receipts, replayed, strict=True
        ):
            page = text_of(stage.consumer.get(f"/marketplace/answers/{answer}/receipt/").text)
            body = receipt["body"]
            if person.name not in page or not body["contributors"]:
                raise StepFailed(f"{person.name} is not among the sources: {page[:500]}")
            pay = {row["user"][:8]: int(row["wei"]) for row in body["contributors"]}
            figures[f"fee {int(body['fee_wei']) / OPEN:.6f} OPEN"] = f"contributors {pay} wei"
            figures[f"replayed offline ({answer[:8]})"] = (
                f"{len(result['checked'])} figures the same, problems {result['problems']}"
            )
    return figures


def _receipt(stage: Stage, answer: str) -> dict[str, Any] | None:
    response = stage.consumer.http.get(f"/marketplace/answers/{answer}/receipt.json")
    return response.json() if response.status_code == 200 else None


def close_epoch(stage: Stage) -> dict[str, Any]:
    def payable() -> bool:
        rows = [p.get("/rewards/api/balance").json() for p in stage.contributors]
        return all(int(row["payable_wei"]) for row in rows)

    wait_for("the refund window to pass", payable, 60)
    closed = json.loads(_manage("close_epoch"))

    def active() -> bool:
        return all(_claim(person) is not None for person in stage.contributors)

    wait_for("the root to be active on chain", active, 90)
    return {"epoch": closed["epoch"], "root": closed["root"], "wei": closed["amount_wei"]}


def _claim(person: Person) -> dict[str, Any] | None:
    claims = person.get("/rewards/api/claim").json()["claims"]
    return claims[0] if claims else None


def claim(stage: Stage) -> dict[str, Any]:
    """Each contributor's own wallet claims; OPEN arrives on chain."""
    figures = {}
    for person in stage.contributors:
        found = _claim(person)
        if found is None:
            raise StepFailed(f"{person.name} has nothing to claim.")
        call = claim_call(
            stage.contracts["distributor"],
            found["account"],
            int(found["cumulative_wei"]),
            bytes.fromhex(found["root"].removeprefix("0x")),
            [bytes.fromhex(item.removeprefix("0x")) for item in found["proof"]],
        )
        wallet = Signer(bytes(person.wallet.key), DEVELOPMENT_CHAIN_ID)
        send_and_wait(stage.client, wallet, call)
        held = stage.client.balance_of(stage.contracts["token"], person.wallet.address)
        if held != int(found["cumulative_wei"]):
            raise StepFailed(f"{person.name} holds {held} wei after claiming.")
        figures[f"{person.name} holds"] = f"{held} wei of OPEN on chain"

    def booked() -> bool:
        rows = [person.get("/rewards/api/balance").json() for person in stage.contributors]
        return all(int(row["claimed_wei"]) for row in rows)

    wait_for("the claims to be final and booked", booked, 60)
    return figures


def reconcile(stage: Stage) -> dict[str, Any]:
    commands = (("reconcile", "--json"), ("verify_audit", "--json"))
    report, audit = (json.loads(printed) for printed in _manage_together(*commands))
    if not report["ok"] or report["unexplained_wei"] != 0:
        raise StepFailed(f"The books do not close: {report}")
    return {
        "reconcile": f'"ok": true, "unexplained_wei": {report["unexplained_wei"]}',
        "audit log": f"{audit['entries']} entries, unbroken",
    }


def _manage(*arguments: str) -> str:
    return _manage_together(arguments)[0]


def _manage_together(*commands: Sequence[str]) -> list[str]:
    """What each command prints. They run side by side: most of one is starting Python."""
    running = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    printed = []
    for command, process in zip(commands, running, strict=True):
        output, problems = process.communicate(timeout=120)
        if process.returncode != 0:
            raise StepFailed(f"{command[0]} failed: {(output + problems)[-600:]}")
        printed.append(output)
    return printed


STEPS: list[tuple[str, Callable[[Stage], dict[str, Any]]]] = [
    ("Five people sign up", sign_up),
    ("Four link a wallet by signature", link_wallets),
    ("A curator opens a Datanet", open_datanet),
    ("Two contributors upload their files", upload),
    ("The curator reviews the rows", review),
    ("A version is cut and anchored on chain", cut_version),
    ("The builder fine-tunes", fine_tune),
    ("The builder publishes", publish),
    ("The consumer deposits OPEN", deposit),
    ("The consumer asks in the page", chat_in_the_page),
    ("The consumer asks through /v1 with openai", chat_through_the_api),
    ("Attribution, fee split, receipts replayed", attribute),
    ("The epoch closes under one root", close_epoch),
    ("Both contributors claim on chain", claim),
    ("The books close to the wei", reconcile),
]
