"""Browse, ask, receipt: for whom each page is, and what it says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from marketplace.models import Inference
from marketplace.tests.conftest import index_being_built
from modelfactory.models import Model
from openledger_site.accounts.models import User
from rewards.services import spendable_wei

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
CHAT = "/marketplace/models/birds/chat/"


def test_anybody_can_browse_public_models(client: Client, model: Model) -> None:
    page = client.get("/marketplace/").content
    assert b"Birds" in page
    assert b"for a short answer" in page


def test_a_search_that_finds_nothing_says_so(client: Client, model: Model) -> None:
    assert b"Nothing matches" in client.get("/marketplace/", {"q": "fish"}).content


def test_a_private_model_is_browsed_and_asked_by_its_owner_only(
    make_model: Callable[..., Model], as_user: SignIn, builder: User, stranger: User
) -> None:
    make_model("private")
    assert b"Birds" in as_user(builder).get("/marketplace/").content
    assert b"Birds" not in as_user(stranger).get("/marketplace/").content
    assert [as_user(user).get(CHAT).status_code for user in (builder, stranger)] == [200, 404]


def test_asking_needs_a_signed_in_person(client: Client, model: Model) -> None:
    for answer in (client.get(CHAT), client.post(CHAT, {"prompt": "Hi"})):
        assert (answer.status_code, "login" in answer["Location"]) == (302, True)


def test_the_chat_page_says_what_is_missing(as_user: SignIn, model: Model, stranger: User) -> None:
    assert b"Your balance is empty" in as_user(stranger).get(CHAT).content
    index_being_built()
    assert b"Almost ready" in as_user(stranger).get(CHAT).content


def test_an_empty_question_is_refused_beside_the_field(
    as_user: SignIn, model: Model, payer: User
) -> None:
    page = as_user(payer).post(CHAT, {"prompt": ""})
    assert (page.status_code, b"This field is required" in page.content) == (422, True)


@pytest.mark.parametrize("prompt", ["a\x00b", "x" * 4001])
def test_a_question_that_cannot_be_stored_is_refused(
    as_user: SignIn, model: Model, payer: User, prompt: str
) -> None:
    assert as_user(payer).post(CHAT, {"prompt": prompt}).status_code == 422


def test_without_money_the_page_says_402_and_how_much(
    as_user: SignIn, model: Model, stranger: User
) -> None:
    page = as_user(stranger).post(CHAT, {"prompt": "Hi"})
    assert (page.status_code, b"Deposit OPEN" in page.content) == (402, True)


def test_an_engine_that_is_away_costs_nothing(
    as_user: SignIn, model: Model, payer: User, settings: Settings
) -> None:
    settings.ENGINE_URL = "http://127.0.0.1:9"
    before = spendable_wei(payer)
    page = as_user(payer).post(CHAT, {"prompt": "Hi"})
    assert (page.status_code, b"not charged" in page.content) == (503, True)
    assert spendable_wei(payer) == before


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
def test_a_stream_that_cannot_start_says_why_in_its_last_line(
    as_user: SignIn, model: Model, payer: User, settings: Settings
) -> None:
    settings.ENGINE_URL = "http://127.0.0.1:9"
    accept = {"accept": "application/x-ndjson"}
    answer = as_user(payer).post(CHAT, {"prompt": "Hi"}, headers=accept)
    last = json.loads(b"".join(answer).splitlines()[-1])  # type: ignore[arg-type] # bytes in a stream
    assert (last["type"], "not charged" in last["message"]) == ("error", True)


def test_the_form_carries_a_key_so_that_a_second_press_is_not_a_second_question(
    as_user: SignIn, model: Model, payer: User
) -> None:
    page = as_user(payer).get(CHAT)
    assert b'name="idempotency_key"' in page.content


def test_my_answers_are_mine(
    as_user: SignIn, settled: Inference, payer: User, stranger: User
) -> None:
    question = settled.question.encode()
    shown = [
        question in as_user(user).get("/marketplace/answers/").content for user in (payer, stranger)
    ]
    assert shown == [True, False]


def test_the_receipt_page_names_contributors_and_splits_the_fee(
    as_user: SignIn, settled: Inference, payer: User
) -> None:
    page = as_user(payer).get(f"/marketplace/answers/{settled.public_id}/receipt/").content
    for words in (b"Contributor ", b"Builder", b"Platform", settled.receipt.digest.encode()):
        assert words in page


def test_before_it_is_settled_the_receipt_page_says_so_and_there_is_nothing_to_download(
    as_user: SignIn, answered: Inference, payer: User
) -> None:
    path = f"/marketplace/answers/{answered.public_id}/receipt"
    assert b"Attribution pending" in as_user(payer).get(f"{path}/").content
    assert as_user(payer).get(f"{path}.json").status_code == 404


@pytest.mark.parametrize("path", ["", "receipt/", "receipt.json"])
def test_somebody_elses_answer_looks_like_none(
    as_user: SignIn, settled: Inference, stranger: User, path: str
) -> None:
    codes = [
        as_user(stranger).get(f"/marketplace/answers/{public_id}/{path}").status_code
        for public_id in (settled.public_id, uuid.uuid4())
    ]
    assert codes == [404, 404]


def test_the_bubble_is_a_part_for_htmx_and_a_page_otherwise(
    as_user: SignIn, settled: Inference, payer: User
) -> None:
    path = f"/marketplace/answers/{settled.public_id}/"
    part = as_user(payer).get(path, headers={"hx-request": "true"})
    assert b"<html" not in part.content
    assert settled.answer.encode() in part.content
    assert as_user(payer).get(path)["Location"] == CHAT


def test_the_income_panel_counts_settled_answers_only(
    client: Client, settled: Inference, ask: Callable[..., Inference]
) -> None:
    ask()
    page = client.get("/marketplace/models/birds/income/").content.decode()
    assert f'value="{settled.fee_wei}"' in page


@pytest.mark.parametrize("path", ["/marketplace/", "/marketplace/answers/", CHAT])
def test_more_rows_on_a_page_do_not_mean_more_questions_to_the_database(
    as_user: SignIn, settled: Inference, ask: Callable[..., Inference], payer: User, path: str
) -> None:
    browser = as_user(payer)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path).status_code == 200
        counts.append(len(queries))
        for _ in range(4):
            ask()
    assert counts[0] == counts[1] < 25


@pytest.mark.parametrize("path", ["/marketplace/", "/marketplace/answers/", f"{CHAT}../income/"])
def test_pages_that_only_show_refuse_to_be_posted_to(
    as_user: SignIn, model: Model, payer: User, path: str
) -> None:
    assert as_user(payer).post(path).status_code in (404, 405)
