"""Agents: made by anybody over a model they may use, kept as they were, never wider than it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, IntegrityError, transaction
from django.http import Http404

from marketplace.models import Agent, AgentVersion, Inference
from marketplace.selectors import agent_for, agent_owned_by, asked_by_name, listed_agents
from marketplace.services import (
    Answering,
    Sampling,
    change_agent,
    finish_answer,
    make_agent,
    retire_agent,
)
from marketplace.services.limit_agent import AgentBudgetReached, AgentRetired, tokens_within
from marketplace.services.make_agent import AgentSlugTaken
from marketplace.services.reserve_answer import KeyReusedForAnother
from marketplace.services.stream_answer import Meter
from marketplace.tests.conftest import OPEN, PRICES, give_money
from modelfactory.models import Model
from modelfactory.services import price_wei
from openledger_site.accounts.models import User
from openledger_site.core.models import AuditEntry
from rewards.models import Hold
from rewards.selectors.subjects import visible_subjects

pytestmark = pytest.mark.django_db
Ask = Callable[..., Inference]
MakeBot = Callable[..., Agent]


def test_an_agent_has_its_first_version_and_an_audit_row(bot: Agent, stranger: User) -> None:
    version = bot.newest
    assert (version.number, version.digest) == (1, version.digest_over(bot.model.adapter_digest))
    entry = AuditEntry.objects.get(action="agent.made")
    assert (entry.actor, entry.subject) == (f"user:{stranger.pk}", f"agent:{bot.public_id}")


def test_two_agents_cannot_have_one_address(make_bot: MakeBot) -> None:
    make_bot()
    with pytest.raises(AgentSlugTaken):
        make_bot()
    assert Agent.objects.count() == 1


def test_a_change_of_what_answers_depend_on_is_a_new_version_and_the_old_one_stays(
    bot: Agent,
) -> None:
    first = bot.newest
    change_agent(agent=bot, answering=Answering("Be kind.", "none", 32), name="Guide")
    assert (bot.newest.number, bot.newest.instructions) == (2, "Be kind.")
    assert bot.newest.digest != first.digest
    assert bot.versions.get(number=1).digest == first.digest


def test_a_change_of_words_alone_is_no_new_version(bot: Agent) -> None:
    change_agent(agent=bot, answering=Answering("", "look_up", 64), summary="Other words.")
    bot.refresh_from_db()
    assert (bot.summary, bot.newest.number) == ("Other words.", 1)


def test_the_database_refuses_to_change_a_version_or_whose_model_an_agent_stands_before(
    bot: Agent, builder: User
) -> None:
    changes: list[Callable[[], object]] = [
        lambda: AgentVersion.objects.update(instructions="Other"),
        lambda: AgentVersion.objects.all().delete(),
        lambda: Agent.objects.update(slug="other"),
        lambda: Agent.objects.update(owner=builder),
        lambda: Agent.objects.all().delete(),
    ]
    for change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


@pytest.mark.parametrize("name", ["answer_cap_wei", "caller_day_wei"])
def test_a_budget_of_nothing_is_refused_by_the_database(make_bot: MakeBot, name: str) -> None:
    with pytest.raises(IntegrityError, match="agent_budgets_allow_something"):
        make_bot(**{name: 0})


def test_everybody_sees_a_public_agent_and_only_its_owner_a_private_one(
    make_bot: MakeBot, stranger: User, consumer: User
) -> None:
    public, private = make_bot(), make_bot(slug="mine", visibility="private")
    assert set(listed_agents(stranger)) == {public, private}
    for user in (consumer, AnonymousUser()):
        assert list(listed_agents(user)) == [public]
        with pytest.raises(Http404):
            agent_for(user, "mine")


def test_an_agent_gives_nobody_a_model_that_they_may_not_use(
    make_model: Callable[..., Model], builder: User, stranger: User
) -> None:
    """Its own visibility says everybody; its model is its owner's alone."""
    model = make_model("private")
    agent = make_agent(
        owner=builder, model=model, slug="secret", name="S", summary="S",
        answering=Answering("", "look_up", 8),
    )  # fmt: skip
    assert agent_for(builder, "secret") == agent
    for user in (stranger, AnonymousUser()):
        for refused in (lambda u=user: agent_for(u, "secret"),
                        lambda u=user: asked_by_name(u, "agent/secret")):  # fmt: skip
            with pytest.raises(Http404):
                refused()
        assert not listed_agents(user).exists()
        assert not visible_subjects(user, [agent.subject])


def test_only_its_owner_changes_it(bot: Agent, stranger: User, builder: User) -> None:
    assert agent_owned_by(stranger, "guide") == bot
    with pytest.raises(Http404):
        agent_owned_by(builder, "guide")


@pytest.mark.parametrize(
    "name", ["agent/", "agent/none", "agent/gui\x00de", "guide", "agent/birds"]
)
def test_a_name_that_is_no_agents_is_not_found(bot: Agent, consumer: User, name: str) -> None:
    with pytest.raises(Http404):
        asked_by_name(consumer, name)


def test_a_pinned_agent_is_found_as_long_as_it_answers_with_that(
    bot: Agent, consumer: User
) -> None:
    pinned = f"agent/guide@{bot.newest.digest[:12]}"
    assert asked_by_name(consumer, pinned) == (bot.model, bot)
    change_agent(agent=bot, answering=Answering("Other.", "none", 8))
    with pytest.raises(Http404):
        asked_by_name(consumer, pinned)


def test_a_retired_agent_keeps_its_page_and_answers_nobody_until_it_is_brought_back(
    bot: Agent, ask: Ask, consumer: User
) -> None:
    retire_agent(agent=bot)
    assert agent_for(consumer, "guide") == bot
    assert not listed_agents(consumer).exists()
    with pytest.raises(Http404):
        asked_by_name(consumer, "agent/guide")
    with pytest.raises(AgentRetired):
        ask(agent=bot)
    assert not Hold.objects.exists()
    assert ask(agent=retire_agent(agent=bot, back=True)).state == "answering"


def test_retiring_twice_leaves_one_audit_row(bot: Agent) -> None:
    retire_agent(agent=bot)
    retire_agent(agent=bot)
    assert AuditEntry.objects.filter(action="agent.retired").count() == 1


def test_an_answer_keeps_the_version_that_was_asked(bot: Agent, ask: Ask) -> None:
    inference = ask(agent=bot)
    change_agent(agent=bot, answering=Answering("Other.", "none", 8))
    inference.refresh_from_db()
    assert inference.agent_version == bot.versions.get(number=1)


def test_an_agent_writes_no_more_than_its_settings_allow_and_no_more_than_was_asked(
    make_bot: MakeBot, ask: Ask
) -> None:
    bot = make_bot(max_tokens=32)
    lengths = [ask(agent=bot, sampling=Sampling(max_tokens=n)) for n in (1024, 5)]
    assert [inference.sampling["max_tokens"] for inference in lengths] == [32, 5]


def test_what_is_held_counts_the_instructions_too(
    make_bot: MakeBot, ask: Ask, model: Model
) -> None:
    """Where the base reads without a limit, so that every byte counts."""
    model.base.context_tokens = 0
    model.base.save()
    plain, told = make_bot(), make_bot("x" * 1000, slug="told")
    more = ask(agent=told).hold.amount_wei - ask(agent=plain).hold.amount_wei
    assert abs(1000 * more - 1016 * model.price_prompt_wei) <= 1000  # each rounded up once


def test_a_budget_for_one_answer_cuts_it_short_and_is_never_exceeded(
    make_bot: MakeBot, ask: Ask, model: Model
) -> None:
    prompt = model.base.context_tokens
    cap = price_wei(model, prompt, 10) + 5
    bot = make_bot(answer_cap_wei=cap)
    inference = ask("What is known about the tern?" * 200, agent=bot)
    assert inference.sampling["max_tokens"] == 10
    assert inference.hold.amount_wei == price_wei(model, prompt, 10) <= cap


def test_a_budget_that_pays_no_token_refuses_and_holds_nothing(make_bot: MakeBot, ask: Ask) -> None:
    with pytest.raises(AgentBudgetReached) as refusal:
        ask(agent=make_bot(answer_cap_wei=1))
    assert (refusal.value.status, refusal.value.where) == (402, "messages")
    assert not Hold.objects.exists()


@pytest.mark.parametrize("spare_wei", [-1, 0, 1])
@pytest.mark.parametrize("tokens", [1, 7, 1000])
def test_tokens_within_a_budget_are_exact_to_the_wei(
    model: Model, tokens: int, spare_wei: int
) -> None:
    cap = price_wei(model, 123, tokens) + spare_wei
    most = tokens_within(model, 123, cap)
    assert price_wei(model, 123, most) <= cap < price_wei(model, 123, most + 1)


def test_a_free_model_is_within_every_budget(make_model: Callable[..., Model]) -> None:
    free = make_model(**dict.fromkeys(PRICES, 0))
    assert tokens_within(free, 10_000, 1) == 1024


def test_one_person_spends_a_day_on_it_what_its_owner_allows_and_another_person_too(
    make_bot: MakeBot, ask: Ask, model: Model, builder: User
) -> None:
    held = ask("Hi").hold.amount_wei
    bot = make_bot(caller_day_wei=2 * held + 1)
    ask("Hi", agent=bot)
    ask("Hi", agent=bot)
    with pytest.raises(AgentBudgetReached) as refusal:
        ask("Hi", agent=bot)
    assert (refusal.value.where, Inference.objects.count()) == ("day", 3)
    give_money(builder, OPEN)
    assert ask("Hi", agent=bot, consumer=builder).state == "answering"
    assert ask("Hi").state == "answering"  # the model itself has no such limit


def test_what_was_not_spent_is_free_again(make_bot: MakeBot, ask: Ask) -> None:
    held = ask("Hi").hold.amount_wei
    bot = make_bot(caller_day_wei=held)
    first = ask("Hi", agent=bot)
    finish_answer(first.pk, Meter())  # nothing was delivered
    assert ask("Hi", agent=bot).state == "answering"


def test_one_key_for_a_model_and_its_agent_is_two_questions(bot: Agent, ask: Ask) -> None:
    ask(key="k-1")
    with pytest.raises(KeyReusedForAnother):
        ask(key="k-1", agent=bot)


def test_instructions_are_read_first_and_are_not_the_askers_words(
    make_bot: MakeBot, ask: Ask
) -> None:
    inference = ask("Hi", agent=make_bot("Be kind."))
    told = {"role": "system", "content": "Be kind."}
    assert inference.read_messages == [told, *inference.messages]
    assert inference.messages == [{"role": "user", "content": "Hi"}]


def test_the_database_refuses_an_answer_of_another_model_than_the_agents(
    bot: Agent, ask: Ask
) -> None:
    inference = ask(agent=bot)
    run, other = bot.model.run, Model.objects.get(pk=bot.model_id)
    run.pk, run.public_id = None, uuid.uuid4()
    run.save(force_insert=True)
    other.pk, other.public_id, other.slug, other.run = None, uuid.uuid4(), "other", run
    other.save(force_insert=True)
    with pytest.raises(IntegrityError, match="of another model"), transaction.atomic():
        Inference.objects.filter(pk=inference.pk).update(model=other)
