"""Before a word is generated: the highest price is held, once, or the question is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from marketplace.models import Inference
from marketplace.services import Sampling, reserve_answer
from marketplace.services.reserve_answer import (
    KeyReusedForAnother,
    MessagesInvalid,
    ModelNotReady,
    StillAnswering,
    highest_fee_wei,
)
from marketplace.tests.conftest import index_being_built
from modelfactory.models import Model
from modelfactory.services import price_wei
from openledger_site.accounts.models import User
from rewards.models import Hold
from rewards.services import InsufficientFunds, spendable_wei

pytestmark = pytest.mark.django_db
Ask = Callable[..., Inference]


def test_the_highest_price_is_held_and_nothing_is_paid_yet(ask: Ask, payer: User) -> None:
    before = spendable_wei(payer)
    inference = ask("Why do wrens sing?", sampling=Sampling(max_tokens=9))
    assert inference.hold.state == Hold.State.PENDING
    assert spendable_wei(payer) == before - inference.hold.amount_wei
    assert inference.fee_wei == 0


def test_no_answer_can_cost_more_than_what_is_held(ask: Ask, model: Model) -> None:
    question = "é" * 500
    inference = ask(question, sampling=Sampling(max_tokens=9))
    most_tokens = min(len(question.encode()) + 4_000, model.base.context_tokens)
    assert inference.hold.amount_wei >= price_wei(model, most_tokens, 9)


def test_a_free_model_still_holds_one_wei_so_that_the_answer_has_a_hold(
    make_model: Callable[..., Model], payer: User
) -> None:
    free = dict.fromkeys(("price_prompt_wei", "price_completion_wei", "platform_fee_wei"), 0)
    model = make_model(**free)
    messages = [{"role": "user", "content": "Hi"}]
    assert highest_fee_wei(model, messages, 5) == 0
    asked = {"consumer": payer, "model": model, "sampling": Sampling(), "channel": "api"}
    assert reserve_answer(messages=messages, **asked)[0].hold.amount_wei == 1


def test_an_empty_purse_is_refused_and_nothing_is_written(ask: Ask, stranger: User) -> None:
    with pytest.raises(InsufficientFunds) as refusal:
        ask(consumer=stranger)
    assert refusal.value.status == 402
    assert not Inference.objects.exists()
    assert not Hold.objects.exists()


def test_a_model_whose_index_is_not_ready_takes_no_money(ask: Ask) -> None:
    index_being_built()
    with pytest.raises(ModelNotReady):
        ask()
    assert not Hold.objects.exists()


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "  "}],
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": "x" * 32_001}],
    ],
)
def test_a_conversation_that_asks_nothing_is_refused(
    model: Model, payer: User, messages: list[dict[str, str]]
) -> None:
    asked = {"consumer": payer, "model": model, "sampling": Sampling(), "channel": "api"}
    with pytest.raises(MessagesInvalid):
        reserve_answer(messages=messages, **asked)


def test_a_repeat_while_the_first_is_answered_is_told_to_wait(ask: Ask) -> None:
    ask(key="k-1")
    with pytest.raises(StillAnswering):
        ask(key="k-1")


def test_a_repeat_after_the_answer_gets_that_answer(answered: Inference, ask: Ask) -> None:
    Inference.objects.filter(pk=answered.pk).update(idempotency_key="k-1")
    assert ask(key="k-1") == answered


def test_a_key_used_for_another_question_is_refused(ask: Ask) -> None:
    ask("Why?", key="k-1")
    with pytest.raises(KeyReusedForAnother):
        ask("How?", key="k-1")


def test_keys_of_two_people_are_two_keys(ask: Ask, builder: User, model: Model) -> None:
    from marketplace.tests.conftest import OPEN, give_money

    give_money(builder, 10 * OPEN)
    assert ask(key="k-1").consumer != ask(key="k-1", consumer=builder).consumer


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_with_one_key_hold_once(ask: Ask, payer: User, model: Model) -> None:
    start = threading.Barrier(10)

    def send(_: int) -> Any:
        try:
            start.wait()
            return ask(key="k-1").pk
        except StillAnswering:
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        found = set(pool.map(send, range(10))) - {None}
    assert len(found) == 1
    assert (Inference.objects.count(), Hold.objects.count()) == (1, 1)
