"""The staff takes an agent down: who is told what, who may undo it, and that it answers nobody."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.core import mail
from django.db import DatabaseError, transaction
from django.test import Client

from marketplace.models import Agent, AgentTakedown, AgentTakenDown, Inference
from marketplace.selectors import agent_for, asked_by_name, listed_agents
from marketplace.services import (
    answer_takedown,
    appeal_takedown,
    mail_about_takedown,
    quote,
    retire_agent,
    take_down_agent,
)
from marketplace.services.reserve_answer import Sampling
from marketplace.services.take_down_agent import AppealedBefore, NotTakenDown
from marketplace.tests.conftest import stake_on
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from openledger_site.core.errors import NotAllowed
from openledger_site.core.models import AuditEntry, OutboxMessage
from rewards.models import Hold

pytestmark = pytest.mark.django_db
Ask = Callable[..., Inference]
SignIn = Callable[[User], Client]
PAGE = "/marketplace/agents/guide/"
WORDS = "It says that it is a doctor."
APPEAL = "It says no such thing any more, see the new version."


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user("Stella", is_staff=True)


@pytest.fixture
def taken(bot: Agent, staff: User) -> AgentTakedown:
    return take_down_agent(agent=bot, by=staff, reason="poses", words=WORDS)


def fresh(agent: Agent) -> Agent:
    return Agent.objects.get(pk=agent.pk)


def test_it_answers_nobody_by_any_door_and_each_refusal_says_why(
    bot: Agent, taken: AgentTakedown, ask: Ask, consumer: User, stranger: User
) -> None:
    messages = [{"role": "user", "content": "Hello?"}]
    for refused in (
        lambda: asked_by_name(consumer, "agent/guide"),
        lambda: asked_by_name(stranger, "agent/guide"),  # its maker too
        lambda: ask(agent=fresh(bot)),
        lambda: quote("agent/guide", messages, Sampling(), ""),
    ):
        with pytest.raises(AgentTakenDown, match="passes itself off"):
            refused()
    assert not Hold.objects.exists()
    assert not listed_agents(consumer).exists()


def test_programs_get_the_reason_in_the_envelope(
    client: Client, taken: AgentTakedown, consumer: User
) -> None:
    _, secret = create_api_key(consumer, name="chat", scopes=["inference"])
    order = {"model": "agent/guide", "messages": [{"role": "user", "content": "Hello?"}]}
    for headers in ({"authorization": f"Bearer {secret}"}, {}):
        answer = client.post(
            "/v1/chat/completions", order, content_type="application/json", headers=headers
        )
        error = json.loads(answer.content)["error"]
        if not headers and error["code"] == "invalid_api_key":
            continue  # payments by signature are not offered before the contracts are there
        assert (answer.status_code, error["code"]) == (403, "agent_taken_down")
        assert "passes itself off" in error["message"]


def test_its_maker_is_told_by_mail_and_on_its_page(
    taken: AgentTakedown, as_user: SignIn, stranger: User
) -> None:
    assert OutboxMessage.objects.filter(task="marketplace.mail_about_takedown").count() == 1
    assert mail_about_takedown(taken.pk) == 1
    assert mail.outbox[0].to == [stranger.email]
    assert WORDS in mail.outbox[0].body
    content = as_user(stranger).get(PAGE).content.decode()
    assert WORDS in content
    assert "Appeal" in content
    listed = as_user(stranger).get("/marketplace/agents/").content.decode()
    assert "Taken down by the staff" in listed


def test_others_read_the_reason_and_none_of_its_words(
    taken: AgentTakedown, as_user: SignIn, consumer: User
) -> None:
    content = as_user(consumer).get(PAGE).content.decode()
    assert "passes itself off" in content
    assert "Tells of birds." not in content
    assert WORDS not in content
    assert as_user(consumer).get(PAGE + "chat/").status_code == 403


def test_its_stakers_find_it_without_its_words(
    bot: Agent, taken: AgentTakedown, client: Client, payer: User, stranger: User
) -> None:
    stake_on(bot.subject)
    page = f"/rewards/stakes/agent/{bot.public_id}/"
    for person, told in ((payer, False), (stranger, True)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        for path in ("/rewards/stakes/", page):
            assert (bot.name in client.get(path).content.decode()) is told, path


def test_the_audit_log_keeps_each_step(bot: Agent, taken: AgentTakedown, staff: User) -> None:
    appeal_takedown(agent=bot, by=bot.owner, words=APPEAL)
    answer_takedown(agent=bot, by=staff, back=False, words="It still does.")
    answer_takedown(agent=bot, by=staff, back=True)
    kept = AuditEntry.objects.filter(subject=bot.subject).order_by("pk")
    assert list(kept.values_list("action", flat=True)) == [
        "agent.made", "agent.taken_down", "agent.takedown_appealed", "agent.takedown_upheld",
        "agent.takedown_ended",
    ]  # fmt: skip
    assert fresh(bot).takedown is None


def test_taking_down_twice_is_one_takedown(bot: Agent, taken: AgentTakedown, staff: User) -> None:
    assert take_down_agent(agent=bot, by=staff, reason="spam") == taken
    assert AgentTakedown.objects.get().reason == "poses"


def test_brought_back_it_answers_again_and_can_be_taken_down_again(
    bot: Agent, taken: AgentTakedown, ask: Ask, staff: User
) -> None:
    answer_takedown(agent=bot, by=staff, back=True, words="Thank you.")
    mail_about_takedown(taken.pk)
    assert "answers again" in mail.outbox[0].subject
    assert ask(agent=fresh(bot)).state == "answering"
    take_down_agent(agent=bot, by=staff, reason="spam")
    assert AgentTakedown.objects.count() == 2


def test_its_maker_cannot_undo_it_by_retiring_and_bringing_back(
    bot: Agent, taken: AgentTakedown, ask: Ask
) -> None:
    retire_agent(agent=bot)
    retire_agent(agent=bot, back=True)
    with pytest.raises(AgentTakenDown):
        ask(agent=fresh(bot))


def test_an_appeal_is_its_makers_and_once(bot: Agent, taken: AgentTakedown, consumer: User) -> None:
    with pytest.raises(NotAllowed):
        appeal_takedown(agent=bot, by=consumer, words=APPEAL)
    appeal_takedown(agent=bot, by=bot.owner, words=APPEAL)
    with pytest.raises(AppealedBefore):
        appeal_takedown(agent=bot, by=bot.owner, words=APPEAL)


def test_only_staff_and_not_its_maker_decides(bot: Agent, consumer: User, stranger: User) -> None:
    stranger.is_staff = True
    for person in (consumer, stranger):
        with pytest.raises(NotAllowed):
            take_down_agent(agent=bot, by=person, reason="spam")
        with pytest.raises(NotAllowed):
            answer_takedown(agent=bot, by=person, back=True)


def test_what_is_not_down_cannot_be_brought_back(bot: Agent, staff: User) -> None:
    with pytest.raises(NotTakenDown):
        answer_takedown(agent=bot, by=staff, back=True)


def test_the_forms_are_for_those_they_concern(
    bot: Agent, as_user: SignIn, staff: User, consumer: User, stranger: User
) -> None:
    assert "Take it down" not in as_user(consumer).get(PAGE).content.decode()
    order = {"reason": "spam", "words": ""}
    assert as_user(consumer).post(PAGE + "take-down/", order).status_code == 404
    assert as_user(stranger).post(PAGE + "take-down/", order).status_code == 404
    assert "Take it down" in as_user(staff).get(PAGE).content.decode()
    assert as_user(staff).post(PAGE + "take-down/", {"reason": "dull"}).status_code == 422
    assert as_user(staff).post(PAGE + "take-down/", order).status_code == 302
    assert as_user(consumer).post(PAGE + "appeal/", {"words": APPEAL}).status_code == 404
    assert as_user(stranger).post(PAGE + "appeal/", {"words": "No."}).status_code == 422
    assert as_user(stranger).post(PAGE + "appeal/", {"words": APPEAL}).status_code == 302
    assert APPEAL in as_user(staff).get(PAGE).content.decode()
    assert as_user(stranger).post(PAGE + "answer/", {"decision": "back"}).status_code == 404
    assert as_user(staff).post(PAGE + "answer/", {"decision": "back"}).status_code == 302
    assert agent_for(consumer, "guide").takedown is None


def test_the_admin_takes_any_agent_down_and_brings_it_back(
    bot: Agent, make_user: Callable[..., User], as_user: SignIn
) -> None:
    boss = make_user("Root", is_staff=True, is_superuser=True)
    for action, reason in (("take_down_leaks", "leaks"), ("bring_back", None)):
        chosen = {"action": action, "_selected_action": [bot.pk]}
        assert as_user(boss).post("/admin/marketplace/agent/", chosen).status_code == 302
        takedown = fresh(bot).takedown
        assert (takedown.reason if takedown else None) == reason


def test_the_database_keeps_a_takedown_and_its_reason(bot: Agent, taken: AgentTakedown) -> None:
    row = AgentTakedown.objects.filter(pk=taken.pk)
    for change in (
        lambda: row.update(reason="spam"),
        lambda: row.update(words=""),
        lambda: row.update(ended_at="2026-01-01T00:00:00Z"),  # without an answer
        lambda: row.delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
