"""What a model recites of a private Datanet reaches readers and nobody else, by no door.

The engine is the real one. What it says to a stranger becomes a row of the private Datanet; asked
again, it says the words of that row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from datanets.models import Contribution, Datanet, Membership, VersionRecord
from marketplace.models import Inference
from marketplace.services.stream_answer import Meter, finish_answer
from marketplace.tests.conftest import TOKEN, run_attempt
from modelfactory.models import Model, OutputGuard
from modelfactory.services import GUARD_JOB, open_guard, price_wei
from modelfactory.serving.engine import Event
from modelfactory.serving.output_guard import MARK, SPAN_WORDS, words_of
from modelfactory.tests.site.conftest import _record
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job
from openledger_site.core.models import Job, JobEvent

pytestmark = pytest.mark.django_db
QUESTION = "Tell me a long story about the sea."
SAMPLING = {"max_tokens": 40, "temperature": 2.0, "seed": 3}


def make_guard(model: Model) -> None:
    """As the worker does when an answer finds no guard."""
    run_id = str(model.run.public_id)
    job = Job.objects.create(
        kind=GUARD_JOB, queue="ingest", subject=f"again:{run_id}", payload={"run_id": run_id}
    )
    run_job(str(job.pk))


@dataclass
class Private:
    """`row` are the words that the model says and that stand in a row nobody outside may read."""

    model: Model
    row: str

    def shown_in(self, text: str) -> bool:
        words, row = words_of(text), words_of(self.row)
        spans = {tuple(row[at : at + SPAN_WORDS]) for at in range(len(row) - SPAN_WORDS + 1)}
        return any(
            tuple(words[at : at + SPAN_WORDS]) in spans for at in range(len(words) - SPAN_WORDS + 1)
        )


@pytest.fixture
def stranger(secret: str, payer: User, as_user: Callable[[User], Client]) -> Client:
    """Quinn, signed in and with an API key."""
    client = as_user(payer)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return client


def say(client: Client, model: Model, **fields: Any) -> Any:
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": model.slug, "messages": messages, **SAMPLING, **fields}
    return client.post(reverse("v1:chat-completions"), body, "application/json")


def heard(answer: Any) -> str:
    """All that a stream sends."""

    async def listen() -> bytes:
        return b"".join([part async for part in answer])

    return async_to_sync(listen)().decode()


def text_of(answer: Any) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture
def private(
    model: Model, builder: User, stranger: Client, engine_url: str, settings: Settings
) -> Private:
    settings.ENGINE_URL, settings.ENGINE_TOKEN = engine_url, TOKEN
    datanet = Datanet.objects.get()
    Datanet.objects.update(visibility="private")
    Membership.objects.create(datanet=datanet, user=builder, role="trainer")
    make_guard(model)
    said = text_of(say(stranger, model))
    assert len(words_of(said)) > SPAN_WORDS
    assert MARK not in said
    row = _record(Contribution.objects.all()[0], 99, "Which sea?", f"They say: {said}")
    VersionRecord.objects.create(
        version=model.run.version, record=row, position=99, leaf_hash="9" * 64, split="train"
    )
    make_guard(model)
    return Private(model, said)


def test_the_api_withholds_it_from_a_stranger(private: Private, stranger: Client) -> None:
    answer = say(stranger, private.model)
    assert answer.status_code == 200
    assert MARK in answer.content.decode()
    assert not private.shown_in(answer.content.decode())


def test_the_stream_never_sends_it(private: Private, stranger: Client) -> None:
    answer = say(stranger, private.model, stream=True, stream_options={"include_usage": True})
    events = heard(answer)
    chunks = [json.loads(line[6:]) for line in events.split("\n\n") if line.startswith("data: {")]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert MARK in text
    assert not private.shown_in(text)
    assert chunks[-1]["usage"]["completion_tokens"] < SAMPLING["max_tokens"]


def test_the_chat_page_streams_none_of_it(private: Private, stranger: Client) -> None:
    url = reverse("marketplace:chat", args=[private.model.slug])
    sent = heard(stranger.post(url, {"prompt": QUESTION}, HTTP_ACCEPT="application/x-ndjson"))
    assert '"done"' in sent
    assert not private.shown_in(sent)


def test_readers_see_every_word(private: Private, stranger: Client, payer: User) -> None:
    datanet = Datanet.objects.get()
    Membership.objects.create(datanet=datanet, user=payer, role="reader")
    inference = Inference.objects.latest("pk")
    meter = Meter(guard=open_guard(payer, private.model.run))
    assert meter.guard is None
    assert meter.add(Event("r", text_delta=private.row)).text_delta == private.row
    assert inference.answer == private.row


def test_chat_receipt_and_their_pages_hold_none_of_it(
    private: Private, stranger: Client, payer: User, ask: Callable[..., Inference]
) -> None:
    say(stranger, private.model)
    inference = Inference.objects.latest("pk")
    assert MARK in inference.answer
    assert inference.response_ids == []
    if inference.job_id:
        run_attempt(inference)
        assert inference.settled
    Inference.objects.exclude(pk=inference.pk).update(answer="")  # told before it was private
    for name, where in (
        ("chat", private.model.slug), ("answer", inference.public_id),
        ("receipt", inference.public_id), ("receipt-download", inference.public_id),
    ):  # fmt: skip
        page = stranger.get(reverse(f"marketplace:{name}", args=[where]), HTTP_HX_REQUEST="true")
        assert not private.shown_in(page.content.decode()), name


def test_no_log_job_or_event_holds_it(
    private: Private, stranger: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        say(stranger, private.model)
    jobs = [*Job.objects.values_list("payload", "subject"), *JobEvent.objects.values_list("data")]
    assert not private.shown_in(caplog.text)
    assert not private.shown_in(json.dumps(jobs))


def test_the_owner_is_told_how_often(private: Private, stranger: Client, builder: User,
                                     as_user: Callable[[User], Client]) -> None:  # fmt: skip
    say(stranger, private.model)
    guard = OutputGuard.objects.get(run=private.model.run)
    assert (guard.answers_withheld, guard.spans_withheld >= 1) == (1, True)
    url = reverse("modelfactory:model-detail", args=[private.model.slug])
    told = "withheld in 1 answer"
    assert told in " ".join(as_user(builder).get(url).content.decode().split())
    assert told not in " ".join(stranger.get(url).content.decode().split())


def deliver(inference: Inference, guard: Any, text: str) -> Inference:
    meter = Meter(guard=guard)
    meter.add(Event("r", prompt_ids=(1, 2), token_ids=tuple(range(10)), text_delta=text))
    meter.add(Event("r", finish_reason="stop"))
    finish_answer(inference.pk, meter)
    inference.refresh_from_db()
    return inference


def test_only_delivered_words_are_billed(
    private: Private, ask: Callable[..., Inference], payer: User
) -> None:
    row = private.row.strip()
    text = f"{row}{'.' * len(row)}"
    inference = deliver(ask(), open_guard(payer, private.model.run), text)
    passed = len(inference.answer.replace(MARK, ""))
    assert 0 < inference.completion_tokens < 10
    assert inference.completion_tokens == 10 * passed // len(text)
    assert inference.fee_wei == price_wei(private.model, 2, inference.completion_tokens)


def test_an_answer_of_nothing_else_is_free(
    private: Private, ask: Callable[..., Inference], payer: User
) -> None:
    inference = deliver(ask(), open_guard(payer, private.model.run), private.row)
    assert (inference.state, inference.error_code) == ("failed", "withheld")
    assert (inference.fee_wei, inference.hold.state) == (0, "voided")


def test_an_answer_with_a_hole_is_attributed_by_the_words_delivered(
    private: Private, ask: Callable[..., Inference], payer: User
) -> None:
    text = f"It lays two eggs, they say. {private.row}. It lays two eggs, it does."
    inference = deliver(ask(), open_guard(payer, private.model.run), text)
    run_attempt(inference)
    assert inference.settled
    assert inference.response_ids
    body = json.dumps(inference.receipt.body)
    assert not private.shown_in(body)


def test_without_a_guard_nobody_outside_gets_an_answer(
    private: Private, stranger: Client, settings: Settings
) -> None:
    for file in Path(settings.GUARDS_DIR).iterdir():
        file.unlink()
    answer = say(stranger, private.model)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "output_guard_not_ready"
    run_job(str(Job.objects.get(kind=GUARD_JOB, subject__startswith="guard:").pk))
    assert MARK in text_of(say(stranger, private.model))
