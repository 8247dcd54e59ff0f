"""/v1 refuses what it cannot do: in OpenAI's shape, naming the parameter, costing nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from marketplace.models import Inference
from marketplace.tests.conftest import index_being_built
from modelfactory.models import Model
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from rewards.models import Hold

pytestmark = pytest.mark.django_db
ASK = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
GOOD = {"model": "birds", "messages": HI}


@pytest.fixture
def api(secret: str, model: Model) -> Client:
    return Client(headers={"authorization": f"Bearer {secret}"})


def post(api: Client, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = api.post(ASK, content, "application/json", headers=headers)
    return answer.status_code, answer.json()["error"]


NOT_OBJECTS = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"model": "\xff"}',
    "a list": b"[]",
    "a text": b'"birds"',
    "null": b"null",
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a number of 5,000 digits": b'{"n": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("name", NOT_OBJECTS)
def test_a_body_that_is_no_object_is_refused(api: Client, name: str) -> None:
    status, error = post(api, NOT_OBJECTS[name])
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert "JSON" in error["message"]


def messages(content: Any, role: Any = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 1}, "model"),
    ({"model": "a\x00b"}, "model"),
    ({"model": "\ud800"}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": HI * 201}, "messages"),
    ({"messages": ["Hi"]}, "messages[0].role"),
    (messages("Hi", role="tool"), "messages[0].role"),
    (messages("Hi", role=[]), "messages[0].role"),
    (messages(None), "messages[0].content"),
    (messages(1), "messages[0].content"),
    (messages([{"type": "image_url"}]), "messages[0].content"),
    (messages([{"text": 1}]), "messages[0].content"),
    (messages("a\x00b"), "messages[0].content"),
    (messages("\ud800"), "messages[0].content"),
    (messages("x" * 32_001), "messages"),
    (messages("Hi", role="assistant"), "messages"),
    (messages(" "), "messages"),
    ({"n": 2}, "n"),
    ({"n": "1"}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 10**9}, "max_tokens"),
    ({"max_completion_tokens": 10**9}, "max_completion_tokens"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": float("nan")}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": float("inf")}, "top_p"),
    ({"seed": 2**63}, "seed"),
    ({"stop": 5}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": ["\x00"]}, "stop"),
    ({"stop": "\ud800"}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": "usage"}, "stream_options"),
    ({"tools": []}, "tools"),
    ({"logprobs": True}, "logprobs"),
    ({"\ud800": 1}, "\ud800"),
]


@pytest.mark.parametrize(("change", "parameter"), WRONG, ids=[str(c)[:50] for c, _ in WRONG])
def test_a_wrong_parameter_is_named(api: Client, change: dict[str, Any], parameter: str) -> None:
    status, error = post(api, GOOD | change)
    assert (status, error["param"], error["type"]) == (400, parameter, "invalid_request_error")
    assert not Hold.objects.exists()


@pytest.mark.parametrize("key", ["k" * 256, "ключ".encode().decode("latin-1")])
def test_an_idempotency_key_that_cannot_be_kept_is_refused(api: Client, key: str) -> None:
    status, error = post(api, GOOD, **{"idempotency-key": key})
    assert (status, error["param"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer nonsense", "Basic b2w6", "Bearer ol_live_"]
)
def test_without_a_valid_key_the_answer_is_401(model: Model, header: str) -> None:
    status, error = post(Client(headers={"authorization": header}), GOOD)
    assert (status, error["type"]) == (401, "authentication_error")


def test_a_revoked_key_stops_working_at_once(api: Client, payer: User) -> None:
    payer.api_keys.update(revoked_at="2020-01-01T00:00Z")
    assert post(api, GOOD)[0] == 401


def test_without_money_the_answer_is_402_and_must_not_be_tried_again(
    model: Model, stranger: User
) -> None:
    secret = create_api_key(stranger, name="k", scopes=["inference"])[1]
    poor = Client(headers={"authorization": f"Bearer {secret}"})
    answer = poor.post(ASK, GOOD, "application/json")
    assert (answer.status_code, answer["x-should-retry"]) == (402, "false")
    assert answer.json()["error"]["type"] == "insufficient_quota"


@pytest.mark.parametrize("name", ["fish", "birds@000000000000", "birds/../birds", "", "%00"])
def test_a_model_that_is_not_there_is_404(api: Client, name: str) -> None:
    status, error = post(api, GOOD | {"model": name or "none"})
    assert (status, error["code"]) == (404, "model_not_found")
    assert api.get(f"/v1/models/{name or 'none'}").status_code == 404


def test_a_pinned_model_is_found_by_its_digest(api: Client, model: Model) -> None:
    pinned = f"birds@{model.adapter_digest[:12]}"
    assert api.get(f"/v1/models/{pinned}").json()["root"] == pinned


def test_a_model_whose_index_is_being_built_is_503_with_a_time_to_wait(api: Client) -> None:
    index_being_built()
    answer = api.post(ASK, GOOD, "application/json")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_an_engine_that_is_away_is_503_and_free(api: Client, settings: Settings) -> None:
    settings.ENGINE_URL = "http://127.0.0.1:9"
    status, error = post(api, GOOD)
    assert (status, error["code"]) == (503, "engine_unavailable")
    assert Inference.objects.get().fee_wei == 0
    assert Hold.objects.get().state == Hold.State.VOIDED


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_asking_is_by_post_only(api: Client, method: str) -> None:
    assert api.generic(method, ASK).status_code == 405
