"""The real `openai` client against a real web process, over the real engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from django.db.models.functions import Now

from marketplace.models import Inference
from marketplace.tests.conftest import OPEN, ROWS, give_money
from modelfactory.models import Model
from modelfactory.services import price_wei
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from rewards.models import Hold
from rewards.services import spendable_wei

pytestmark = pytest.mark.django_db(transaction=True)
QUESTION = [{"role": "user", "content": ROWS[0][0]}]
Ask = Callable[..., Any]


@pytest.fixture
def client(live_url: str, secret: str, model: Model) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live_url}/v1", api_key=secret, max_retries=0) as made:
        yield made


@pytest.fixture
def ask_client(client: openai.OpenAI) -> Ask:
    def ask(**options: Any) -> Any:
        given = {"model": "birds", "messages": QUESTION, "max_tokens": 8, "temperature": 0}
        return client.chat.completions.create(**given | options)

    return ask


def test_an_answer_has_usage_a_price_and_a_receipt(ask_client: Ask, model: Model) -> None:
    answer = ask_client()
    usage, extra = answer.usage, answer.model_extra["openledger"]
    fee = price_wei(model, usage.prompt_tokens, usage.completion_tokens)
    assert extra["fee_wei"] == str(fee)
    assert extra["receipt_url"].endswith(f"{extra['inference']}/receipt/")
    assert answer.model == f"birds@{model.adapter_digest[:12]}"
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_a_stream_says_the_same_as_a_whole_answer(ask_client: Ask) -> None:
    whole = ask_client().choices[0].message.content
    chunks = list(ask_client(stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] != []
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage_ends_with_what_is_billed(ask_client: Ask) -> None:
    *chunks, last = ask_client(stream=True, stream_options={"include_usage": True})
    inference = Inference.objects.get()
    assert (last.choices, [chunk.usage for chunk in chunks if chunk.usage]) == ([], [])
    assert last.usage.completion_tokens == inference.completion_tokens > 0
    assert last.model_extra["openledger"]["fee_wei"] == str(inference.fee_wei)


def test_models_are_listed_as_openai_lists_them(client: openai.OpenAI) -> None:
    assert [found.id for found in client.models.list()] == ["birds"]
    assert client.models.retrieve("birds").owned_by == "Bo"


def test_an_answer_is_read_again_and_erased(
    client: openai.OpenAI, ask_client: Ask, live_url: str, stranger: User
) -> None:
    first = ask_client()
    again = client.chat.completions.retrieve(first.id)
    assert again.choices[0].message.content == first.choices[0].message.content
    other = create_api_key(stranger, name="k", scopes=["inference"])[1]
    for unknown in (first.id[:-1] + "x", "chatcmpl-" + "0" * 32, "none"):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(unknown)
    with pytest.raises(openai.NotFoundError):
        client.with_options(api_key=other).chat.completions.delete(first.id)
    Inference.objects.update(state="settled", settled_at=Now())
    assert client.chat.completions.delete(first.id).deleted
    assert Inference.objects.get().erased
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(first.id)


def test_refusals_become_the_clients_own_exceptions(
    client: openai.OpenAI, ask_client: Ask, live_url: str, stranger: User
) -> None:
    with pytest.raises(openai.NotFoundError):
        ask_client(model="fish")
    with pytest.raises(openai.BadRequestError) as refusal:
        ask_client(n=2)
    assert refusal.value.param == "n"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{live_url}/v1", api_key="ol_live_no").models.list()
    poor = create_api_key(stranger, name="k", scopes=["inference"])[1]
    with pytest.raises(openai.APIStatusError) as unpaid:
        client.with_options(api_key=poor).chat.completions.create(model="birds", messages=QUESTION)  # type: ignore[arg-type] # plain dicts are what people send
    assert (unpaid.value.status_code, unpaid.value.type) == (402, "insufficient_quota")


def test_a_prompt_longer_than_the_model_can_read_is_refused_and_free(
    ask_client: Ask, payer: User
) -> None:
    before = spendable_wei(payer)
    with pytest.raises(openai.BadRequestError):
        ask_client(messages=[{"role": "user", "content": "wren " * 6_000}])
    assert spendable_wei(payer) == before


def test_a_client_that_hangs_up_pays_for_what_came(
    ask_client: Ask, model: Model, payer: User
) -> None:
    stream = ask_client(stream=True, max_tokens=1024, temperature=2, seed=3)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            stream.close()
            break
    inference = wait_for_end()
    assert inference.completion_tokens == len(inference.response_ids) > 0
    fee = price_wei(model, inference.prompt_tokens, inference.completion_tokens)
    assert (inference.state, inference.fee_wei) == (Inference.State.ANSWERED, fee)
    assert fee < inference.hold.amount_wei


def wait_for_end() -> Inference:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        inference = Inference.objects.select_related("hold").get()
        if inference.state != Inference.State.ANSWERING:
            return inference
        time.sleep(0.05)
    raise AssertionError("the answer was never closed")


def test_ten_requests_at_once_under_one_key_are_answered_and_held_once(ask_client: Ask) -> None:
    header = {"Idempotency-Key": str(uuid.uuid4())}

    def send(_: int) -> Any:
        try:
            return ask_client(extra_headers=header).choices[0].message.content
        except openai.ConflictError:
            return None

    with ThreadPoolExecutor(10) as pool:
        texts = set(pool.map(send, range(10))) - {None}
    assert len(texts) == 1
    assert (Inference.objects.count(), Hold.objects.count()) == (1, 1)


def test_a_repeat_under_the_same_key_gets_the_same_answer_and_pays_nothing(
    ask_client: Ask, payer: User
) -> None:
    header = {"Idempotency-Key": "k-1"}
    first = ask_client(extra_headers=header)
    paid = spendable_wei(payer)
    assert ask_client(extra_headers=header).id == first.id
    assert spendable_wei(payer) == paid


def test_a_purse_is_never_overdrawn_by_many_questions_at_once(
    ask_client: Ask, live_url: str, stranger: User
) -> None:
    secret = create_api_key(stranger, name="k", scopes=["inference"])[1]
    give_money(stranger, OPEN // 10)
    body = {"model": "birds", "messages": QUESTION, "max_tokens": 1}
    headers = {"authorization": f"Bearer {secret}"}

    def send(_: int) -> int:
        url = f"{live_url}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=120).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(send, range(8)))
    assert statuses <= {200, 402}
    assert spendable_wei(stranger) >= 0
