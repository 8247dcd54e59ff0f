"""Make, find, change and retire agents: for whom each page is, and what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from marketplace.agent_forms import AgentForm
from marketplace.models import Agent, Inference
from marketplace.services import retire_agent
from marketplace.tests.conftest import World, delivered, run_attempt
from modelfactory.models import BaseModel, Model
from openledger_site.accounts.models import User
from openledger_site.core.money import exact_open
from rewards.models import SlashCase, StakeTarget

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
MakeBot = Callable[..., Agent]
NEW, PAGE = "/marketplace/agents/new/", "/marketplace/agents/guide/"
FORM = {
    "model": "birds", "name": "Bird guide", "slug": "guide", "summary": "Tells of birds.",
    "instructions": "The bird house opens at nine.", "rows": "only", "length": "256",
    "visibility": "public", "opening": "Ask me about birds.", "answer_cap": "", "caller_day": "5",
}  # fmt: skip
SECRET = "Beams and hinges."


def shown(client: Client, path: str, **query: str) -> str:
    return client.get(path, query).content.decode()


def test_anybody_signed_in_makes_an_agent_of_a_model_that_they_do_not_own(
    as_user: SignIn, model: Model, consumer: User
) -> None:
    browser = as_user(consumer)
    assert "birds" in shown(browser, NEW)
    assert "takes up to 0." in shown(browser, NEW, model="birds")
    assert browser.post(NEW, FORM)["Location"] == PAGE
    agent, version = Agent.objects.get(), Agent.objects.get().newest
    assert (agent.owner, agent.model, agent.caller_day_wei) == (consumer, model, 5 * 10**18)
    assert (version.instructions, version.rows, version.max_tokens) == (
        "The bird house opens at nine.", "only", 256,
    )  # fmt: skip


def test_pressing_twice_makes_one(as_user: SignIn, model: Model, consumer: User) -> None:
    browser = as_user(consumer)
    for _ in range(2):
        assert browser.post(NEW, FORM | {"idempotency_key": "k"}).status_code == 302
    assert Agent.objects.count() == 1


def test_an_empty_address_is_made_from_the_name(
    as_user: SignIn, model: Model, consumer: User
) -> None:
    assert as_user(consumer).post(NEW, FORM | {"slug": ""})["Location"].endswith("/bird-guide/")


WRONG = {
    "name": "", "slug": "No spaces!", "summary": "x" * 201, "instructions": "x" * 1501,
    "rows": "browse_the_web", "length": "10", "visibility": "friends", "answer_cap": "0.00001",
    "caller_day": "0.00001", "opening": "x" * 301,
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_is_said_beside_it_and_nothing_is_made(
    as_user: SignIn, model: Model, consumer: User, field: str
) -> None:
    page = as_user(consumer).post(NEW, FORM | {field: WRONG[field]})
    assert (page.status_code, b"errorlist" in page.content) == (422, True)
    assert not Agent.objects.exists()


def test_the_least_budget_that_the_form_names_is_one_that_answers(
    as_user: SignIn, model: Model, payer: User, ask: Callable[..., Inference]
) -> None:
    form = AgentForm(FORM | {"answer_cap": "0.00001"}, model=model)
    least = str(form.errors["answer_cap"][0]).split(" can cost ")[1].split(" OPEN")[0]
    as_user(payer).post(NEW, FORM | {"answer_cap": least, "caller_day": least, "length": "64"})
    inference = ask("x" * 4000, agent=Agent.objects.get())
    assert (inference.sampling["max_tokens"], exact_open(inference.hold.amount_wei)) == (1, least)


def test_an_address_that_is_taken_says_so(as_user: SignIn, bot: Agent, consumer: User) -> None:
    page = as_user(consumer).post(NEW, FORM)
    assert (page.status_code, b"another" in page.content.lower()) == (422, True)
    assert FORM["name"] in page.text  # what was typed is still there


def test_making_one_needs_a_signed_in_person_who_may_use_the_model(
    client: Client, make_model: Callable[..., Model], as_user: SignIn, stranger: User
) -> None:
    make_model("private")
    assert "login" in client.post(NEW, FORM)["Location"]
    browser = as_user(stranger)
    for answer in (browser.post(NEW, FORM), browser.get(NEW, {"model": "birds"})):
        assert answer.status_code == 404
    assert "Birds" not in shown(browser, NEW)


@pytest.mark.parametrize("path", ["/marketplace/", "/marketplace/agents/"])
def test_agents_are_listed_found_and_missed_in_words(
    client: Client, model: Model, make_bot: MakeBot, path: str
) -> None:
    assert "Make an agent" in shown(client, path)
    make_bot()
    assert "Bird guide" in shown(client, path)
    assert "Bird guide" in shown(client, path, q="tells birds")
    assert "Bird guide" not in shown(client, path, q="fish")


def test_its_page_says_what_it_can_and_cannot_do_and_what_it_may_cost(
    client: Client, make_bot: MakeBot
) -> None:
    make_bot(rows="only", max_tokens=256, answer_cap_wei=10**18)
    page = shown(client, PAGE)
    for words in ("refuse a question, free of charge", "up to 256 tokens", "Search the web",
                  "agent/guide", "One answer costs at most"):  # fmt: skip
        assert words in page


def test_what_the_base_makes_of_instructions_is_said_plainly(
    client: Client, make_bot: MakeBot
) -> None:
    make_bot("Be kind.")
    assert "as facts to answer from" in shown(client, PAGE)
    BaseModel.objects.update(source="HuggingFaceTB/SmolLM2-135M-Instruct")
    page = shown(client, PAGE)
    assert "as facts to answer from" not in page
    assert "as well as its base model follows them" in page


def test_only_its_owner_reads_the_instructions_unless_they_are_shown(
    client: Client, make_bot: MakeBot, as_user: SignIn, stranger: User, builder: User
) -> None:
    make_bot(SECRET)
    make_bot(SECRET, slug="open", shows_instructions=True)
    assert SECRET in shown(as_user(stranger), PAGE)
    for browser in (client, as_user(builder)):
        assert SECRET not in shown(browser, PAGE)
        assert SECRET in shown(browser, "/marketplace/agents/open/")


def test_others_read_the_instructions_on_no_page_at_all(
    make_bot: MakeBot, as_user: SignIn, ask: Callable[..., Inference], payer: User
) -> None:
    inference = ask(agent=make_bot(SECRET))
    kind = f"agent/{inference.agent_version.agent.public_id}"  # type: ignore[union-attr] # asked
    browser = as_user(payer)
    receipt = f"/marketplace/answers/{inference.public_id}/receipt/"
    pages = [PAGE, f"{PAGE}chat/", receipt, "/marketplace/answers/"]
    for path in [*pages, f"/rewards/stakes/{kind}/", f"/rewards/assets/{kind}/"]:
        answer = browser.get(path)
        assert (answer.status_code, SECRET in answer.content.decode()) == (200, False), path


def test_the_owner_changes_it_and_nobody_else_does(
    make_bot: MakeBot, as_user: SignIn, stranger: User, builder: User
) -> None:
    agent = make_bot(SECRET)
    assert SECRET in shown(as_user(stranger), f"{PAGE}edit/")
    for method in ("get", "post"):
        assert getattr(as_user(builder), method)(f"{PAGE}edit/", FORM).status_code == 404
    assert as_user(stranger).post(f"{PAGE}edit/", FORM)["Location"] == PAGE
    assert (agent.newest.number, agent.newest.rows) == (2, "only")
    assert as_user(stranger).post(f"{PAGE}edit/", FORM | {"name": ""}).status_code == 422


def test_the_owner_retires_it_and_brings_it_back(
    bot: Agent, as_user: SignIn, stranger: User, payer: User, client: Client
) -> None:
    assert as_user(payer).post(f"{PAGE}retire/").status_code == 404
    as_user(stranger).post(f"{PAGE}retire/")
    assert "Bird guide" not in shown(client, "/marketplace/agents/")
    assert "Your retired agents" in shown(as_user(stranger), "/marketplace/agents/")
    assert "it answers nobody" in shown(client, PAGE)
    refused = as_user(payer).post(f"{PAGE}chat/", {"prompt": "Hi"})
    assert (refused.status_code, b"retired this agent" in refused.content) == (409, True)
    as_user(stranger).post(f"{PAGE}bring-back/")
    assert "Bird guide" in shown(client, "/marketplace/agents/")


def test_its_chat_begins_with_the_opening_message_and_is_beside_the_models(
    make_bot: MakeBot, as_user: SignIn, payer: User, ask: Callable[..., Inference]
) -> None:
    agent = make_bot(opening="Good day, bird lover.")
    ask("To the guide?", agent=agent)
    ask("To the model?")
    pages = [shown(as_user(payer), f"{p}chat/") for p in (PAGE, "/marketplace/models/birds/")]
    assert [("To the guide?" in page, "To the model?" in page) for page in pages] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert ["Good day" in page for page in pages] == [True, False]


def test_asking_needs_a_signed_in_person(client: Client, bot: Agent) -> None:
    for answer in (client.get(f"{PAGE}chat/"), client.post(f"{PAGE}chat/", {"prompt": "Hi"})):
        assert (answer.status_code, "login" in answer["Location"]) == (302, True)


def test_the_receipt_page_names_the_agent_and_its_digest(
    make_bot: MakeBot, as_user: SignIn, payer: User, ask: Callable[..., Inference], world: World
) -> None:
    inference = delivered(ask(agent=make_bot()), world)
    run_attempt(inference)
    page = shown(as_user(payer), f"/marketplace/answers/{inference.public_id}/receipt/")
    assert inference.agent_version is not None
    for words in ("The agent that was asked", PAGE, inference.agent_version.digest):
        assert words in page


def test_it_can_be_staked_on_and_owned_and_both_pages_say_what_that_means(
    bot: Agent, as_user: SignIn, stranger: User
) -> None:
    browser, kind = as_user(stranger), f"agent/{bot.public_id}"
    assert "the agent takes half" in shown(browser, f"/rewards/stakes/{kind}/")
    page = shown(browser, f"/rewards/assets/{kind}/")
    assert "What its maker asks on top" in page
    preview = browser.post(f"/rewards/stakes/{kind}/preview/", {"amount": "1"})
    assert preview.status_code == 200
    assert StakeTarget.objects.get().subject == bot.subject


def test_a_retired_agent_can_still_be_found_by_those_who_staked_on_it(
    bot: Agent, client: Client
) -> None:
    retire_agent(agent=bot)
    assert client.get(f"/rewards/stakes/agent/{bot.public_id}/").status_code == 200


def test_a_slash_can_name_an_agent(
    bot: Agent, as_user: SignIn, make_user: Callable[..., User], stranger: User
) -> None:
    decider = make_user("Dana", is_staff=True)
    decider.user_permissions.add(Permission.objects.get(codename="decide_slash"))
    path = f"/rewards/stakes/agent/{bot.public_id}/slash/"
    assert as_user(decider).get(path).status_code == 200
    assert as_user(stranger).get(path).status_code == 404
    SlashCase.objects.create(
        chain_id=31337, target="0x" + "6" * 64, subject=bot.subject, amount_wei=1,
        decision="It recited what it must not.", evidence="0x" + "7" * 64, decided_by=decider,
        owner=stranger,
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/marketplace/", "/marketplace/agents/", PAGE])
def test_more_agents_do_not_mean_more_questions_to_the_database(
    as_user: SignIn, make_bot: MakeBot, stranger: User, path: str
) -> None:
    make_bot()
    browser, counts = as_user(stranger), []
    for slugs in (("b-1", "b-2", "b-3", "b-4"), ()):
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(path).status_code == 200
        counts.append(len(queries))
        for slug in slugs:
            make_bot(slug=slug)
    assert counts[0] == counts[1] < 25


@pytest.mark.parametrize("path", ["/marketplace/agents/", PAGE])
def test_pages_that_only_show_refuse_to_be_posted_to(
    as_user: SignIn, bot: Agent, stranger: User, path: str
) -> None:
    assert as_user(stranger).post(path).status_code == 405


@pytest.mark.parametrize("path", [f"{PAGE}retire/", f"{PAGE}bring-back/"])
def test_retiring_is_by_post_only(as_user: SignIn, bot: Agent, stranger: User, path: str) -> None:
    assert as_user(stranger).get(path).status_code == 405
