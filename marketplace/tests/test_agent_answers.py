"""Answers through an agent: real engine, real attribution; what is read, paid and signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from datanets.models import Contribution, Datanet, Membership, VersionRecord
from marketplace import receipts
from marketplace.models import Agent, Inference, Receipt
from marketplace.services import Answering, make_agent
from marketplace.services.check_receipts import check_receipts
from marketplace.services.stream_answer import _guard
from marketplace.tests.conftest import TOKEN, World, delivered, run_attempt, stake_on
from marketplace.tests.test_output_guard import make_guard
from modelfactory.models import Model
from modelfactory.serving.output_guard import MARK
from modelfactory.tests.site.conftest import _record
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from rewards.models import EarningLine, Hold, Settlement, StakerShare
from rewards.services import reconcile

pytestmark = pytest.mark.django_db
MakeBot = Callable[..., Agent]
SECRET = "The key of the bird house hangs behind the second beam on the left"
ROW = "It hides its eggs under the third stone from the old harbour wall."
KNOWN, UNKNOWN = "What is known about the tern?", "What is known about the robin?"


@pytest.fixture
def engine(engine_url: str, settings: Settings) -> None:
    settings.ENGINE_URL, settings.ENGINE_TOKEN = engine_url, TOKEN


@pytest.fixture
def api(secret: str, engine: None) -> Client:
    return Client(headers={"authorization": f"Bearer {secret}"})


def send(api: Client, question: str = KNOWN, **fields: Any) -> Any:
    body = {"model": "agent/guide", "messages": [{"role": "user", "content": question}]}
    return api.post("/v1/chat/completions", body | fields, "application/json")


@pytest.fixture
def answer(make_bot: MakeBot, ask: Callable[..., Inference], world: World) -> Inference:
    return delivered(ask(agent=make_bot(f"{SECRET}.")), world)


@pytest.fixture
def private_data(model: Model, builder: User) -> None:
    """The rows are private: Bo may train on them, and Quinn may not read them."""
    Datanet.objects.update(visibility="private")
    Membership.objects.create(datanet=Datanet.objects.get(), user=builder, role="trainer")
    row = _record(Contribution.objects.all()[0], 99, "Where?", ROW)
    VersionRecord.objects.create(
        version=model.run.version, record=row, position=99, leaf_hash="9" * 64, split="train"
    )
    make_guard(model)


# What it reads


def test_the_api_lists_agents_beside_models_and_asks_them_by_name(bot: Agent, api: Client) -> None:
    listed = {one["id"]: one for one in api.get("/v1/models").json()["data"]}
    assert set(listed) == {"birds", "agent/guide"}
    assert api.get("/v1/models/agent/guide").json() == listed["agent/guide"]
    answer = send(api)
    pinned = f"agent/guide@{bot.newest.digest[:12]}"
    assert (answer.status_code, answer.json()["model"]) == (200, pinned)
    assert send(api, model=pinned).status_code == 200
    assert set(Inference.objects.values_list("agent_version__agent", flat=True)) == {bot.pk}


def test_looking_rows_up_and_answering_from_memory_are_two_things(
    make_bot: MakeBot, api: Client
) -> None:
    make_bot()
    make_bot(slug="memory", rows="none")
    for name in ("agent/guide", "agent/memory"):
        assert send(api, model=name).status_code == 200
    looked_up, from_memory = Inference.objects.order_by("pk")
    assert (bool(looked_up.passages), from_memory.passages) == (True, [])
    assert looked_up.prompt_tokens > from_memory.prompt_tokens


def test_only_from_rows_refuses_what_no_row_is_about_and_charges_nothing(
    make_bot: MakeBot, api: Client
) -> None:
    """Words that every row shares ("is known about") make no source."""
    make_bot(rows="only")
    refused = send(api, UNKNOWN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_source")
    inference = Inference.objects.get()
    assert (inference.state, inference.error_code) == ("failed", "no_source")
    assert (inference.fee_wei, Hold.objects.get().state) == (0, Hold.State.VOIDED)
    assert send(api, KNOWN).status_code == 200
    [passage] = Inference.objects.latest("pk").passages
    assert passage["record"]


def test_only_from_rows_answers_nobody_from_rows_that_they_may_not_read(
    make_bot: MakeBot, api: Client, private_data: None
) -> None:
    make_bot(rows="only")
    refused = send(api, KNOWN)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_source")


def test_looking_up_finds_nothing_for_somebody_who_may_read_no_row(
    bot: Agent, api: Client, private_data: None
) -> None:
    """Whoever made the agent, and whatever they may read themselves."""
    assert send(api, KNOWN).status_code == 200
    assert Inference.objects.get().passages == []


def test_instructions_are_part_of_the_prompt_that_is_read_and_paid(
    make_bot: MakeBot, api: Client
) -> None:
    make_bot(rows="none")
    make_bot(SECRET, slug="told", rows="none")
    for name in ("agent/guide", "agent/told"):
        send(api, model=name, max_tokens=1)
    plain, told = Inference.objects.order_by("pk")
    assert told.prompt_tokens > plain.prompt_tokens + 8


def test_hidden_instructions_leave_in_no_answer_but_the_owners(
    make_bot: MakeBot, ask: Callable[..., Inference], world: World, stranger: User, payer: User
) -> None:
    hidden = make_bot(SECRET)
    shown = make_bot(SECRET, slug="open", shows_instructions=True)
    guard = _guard(ask(agent=hidden))
    assert guard is not None
    said = guard.feed(f"Well: {SECRET}, friend.") + guard.finish()
    assert MARK in said
    assert "second beam" not in said
    assert not guard.of_rows  # so rights that change meanwhile are looked at as without it
    assert _guard(ask(agent=shown)) is None
    mine = ask(agent=hidden)
    mine.consumer = stranger
    assert _guard(mine) is None


def test_private_rows_stay_guarded_with_hidden_instructions_beside(
    make_bot: MakeBot, ask: Callable[..., Inference], private_data: None
) -> None:
    inference = ask("Hi", agent=make_bot(SECRET))
    for text in (SECRET, ROW):
        guard = _guard(inference)
        assert guard is not None
        assert guard.of_rows
        assert MARK in guard.feed(f"{text} ") + guard.finish()


def test_the_bubble_names_the_agent_and_a_stream_works(
    bot: Agent, engine: None, payer: User, as_user: Callable[[User], Client]
) -> None:
    page = as_user(payer).post("/marketplace/agents/guide/chat/", {"prompt": KNOWN}, follow=True)
    inference = Inference.objects.get()
    assert page.redirect_chain == [("/marketplace/agents/guide/chat/", 302)]
    assert "Bird guide" in page.content.decode()
    assert inference.agent_version == bot.newest
    assert b"tern" not in as_user(payer).get("/marketplace/models/birds/chat/").content


# What it pays


def test_the_fee_goes_where_the_models_goes_and_the_agents_owner_gets_none(
    answer: Inference, stranger: User, builder: User
) -> None:
    run_attempt(answer)
    assert EarningLine.objects.get(role="builder").user == builder
    assert not EarningLine.objects.filter(user=stranger).exists()


def test_an_agent_that_somebody_stakes_on_takes_half_of_the_stakers_part(answer: Inference) -> None:
    agent = answer.agent_version.agent  # type: ignore[union-attr] # it was asked
    stake_on(agent.subject)
    run_attempt(answer)
    datanet = answer.model.run.version.datanet
    shares = dict(StakerShare.objects.values_list("subject", "amount_wei"))
    whole = Settlement.objects.get().stakers_wei
    assert sum(shares.values()) == whole > 1
    assert shares.keys() == {agent.subject, f"datanet:{datanet.public_id}"}
    assert abs(shares[agent.subject] - shares[f"datanet:{datanet.public_id}"]) <= 1


def test_an_agent_that_nobody_stakes_on_takes_nothing_from_those_of_the_rows(
    answer: Inference,
) -> None:
    run_attempt(answer)
    datanet = answer.model.run.version.datanet
    assert StakerShare.objects.get().subject == f"datanet:{datanet.public_id}"


def test_of_an_answer_that_pays_no_record_the_model_has_the_other_half(
    answer: Inference, settings: LazySettings, tmp_path: Path
) -> None:
    agent = answer.agent_version.agent  # type: ignore[union-attr] # it was asked
    stake_on(agent.subject)
    settings.ADAPTERS_DIR = tmp_path / "nowhere"
    run_attempt(answer, attempt=5)
    subjects = set(StakerShare.objects.values_list("subject", flat=True))
    assert subjects == {agent.subject, f"model:{answer.model.public_id}"}


def test_the_books_hold_after_an_answer_through_a_staked_agent(answer: Inference) -> None:
    """I4 compares with the chain, which these tests do not start."""
    stake_on(answer.agent_version.agent.subject)  # type: ignore[union-attr] # it was asked
    run_attempt(answer)
    connection.check_constraints()
    problems = {name: found for name, found in reconcile().problems.items() if name != "I4"}
    assert {"I7", "I8", "signed receipts"} <= problems.keys()
    assert not any(problems.values())


# What is signed


def test_the_receipt_names_the_agent_by_digest_and_holds_none_of_its_words(
    answer: Inference,
) -> None:
    run_attempt(answer)
    version, body = answer.agent_version, Receipt.objects.get().body
    assert version is not None
    assert body["agent"] == {
        "slug": "guide",
        "id": str(version.agent.public_id),
        "version": 1,
        "digest": version.digest_over(answer.adapter_digest),
    }
    assert "bird house" not in json.dumps(body)
    # Nor the tokens of them, which could be read back.
    attributed = body["evidence"]["influence"]["attribution"]
    assert len(attributed["prompt_ids"]) < len(SECRET.split())


def test_the_receipt_of_an_agents_answer_replays_and_a_touched_digest_is_found(
    answer: Inference, world: World
) -> None:
    run_attempt(answer)
    kept = Receipt.objects.get()
    key = receipts.signing_key("a-secret-key-of-the-tests").public_key().public_bytes_raw().hex()
    document = {"body": kept.body, "digest": kept.digest, "signature": kept.signature}
    index = world.folder / "attribution" / world.adapter_digest
    found = receipts.verify(document, index_folder=index, public_key=key)
    assert found.ok, found.problems
    assert "version of the agent" in found.checked
    agent = kept.body["agent"] | {"digest": "00"}
    forged = document | {"body": kept.body | {"agent": agent}}
    assert len(receipts.verify(forged, public_key=key).problems) >= 2


def test_a_receipt_of_an_answer_by_a_model_says_nothing_of_agents(settled: Inference) -> None:
    assert "agent" not in Receipt.objects.get().body


def test_an_answer_that_was_moved_to_another_version_is_found_by_reconcile(
    answer: Inference, make_bot: MakeBot
) -> None:
    run_attempt(answer)
    assert check_receipts() == []
    other = make_bot("Other.", slug="other").newest
    Inference.objects.filter(pk=answer.pk).update(agent_version=other)
    assert "names another agent" in check_receipts()[0]


def test_passages_are_measured_with_the_instructions_that_were_read_beside_them(
    make_bot: MakeBot, api: Client
) -> None:
    """Measuring renders the served prompt again and refuses any other."""
    make_bot(SECRET)
    assert send(api).status_code == 200
    inference = Inference.objects.get()
    run_attempt(inference, attempt=1)
    assert inference.settled
    evidence = Receipt.objects.get().body["evidence"]
    assert {passage["state"] for passage in evidence["retrieval"]} == {"measured"}


def test_a_key_of_somebody_who_may_not_use_the_model_gets_404(
    make_model: Callable[..., Model], builder: User, stranger: User, engine: None
) -> None:
    make_agent(
        owner=builder, model=make_model("private"), slug="guide", name="G", summary="S",
        answering=Answering("", "look_up", 8),
    )  # fmt: skip
    key = create_api_key(stranger, name="k", scopes=["inference"])[1]
    theirs = Client(headers={"authorization": f"Bearer {key}"})
    assert send(theirs).status_code == 404
    assert theirs.get("/v1/models/agent/guide").status_code == 404
    assert theirs.get("/v1/models").json()["data"] == []
