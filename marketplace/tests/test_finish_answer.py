"""However an answer ends, it is billed as delivered, or its hold is freed. Once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db.models import F
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from marketplace.models import Inference
from marketplace.services import finish_answer, stream_answer, sweep_answers
from marketplace.services.stream_answer import Meter
from marketplace.tests.conftest import TOKEN, run_attempt
from modelfactory.models import Model
from modelfactory.services import price_wei
from modelfactory.serving.engine import Event, Usage
from openledger_site.accounts.models import User
from openledger_site.core.models import Job
from rewards.models import Hold
from rewards.services import expire_holds, spendable_wei

pytestmark = pytest.mark.django_db
Ask = Callable[..., Inference]


def test_the_fee_is_that_of_the_tokens_delivered(ask: Ask, model: Model) -> None:
    inference = ask()
    finish_answer(inference.pk, Meter(["Hi"], [1, 2, 3], [4, 5], 3, 2, "stop"))
    inference.refresh_from_db()
    assert inference.fee_wei == price_wei(model, 3, 2)
    assert (inference.state, inference.answer) == (Inference.State.ANSWERED, "Hi")


def test_an_answered_question_waits_for_its_attribution(ask: Ask) -> None:
    inference = ask()
    finish_answer(inference.pk, Meter(["Hi"], [1], [2], 1, 1, "stop"))
    job = Job.objects.get(subject=f"answer:{inference.public_id}")
    assert (job.queue, job.kind, job.owner) == (
        "attribution",
        "marketplace.settle_answer",
        inference.consumer,
    )


def test_nothing_delivered_frees_the_hold(ask: Ask, payer: User) -> None:
    before = spendable_wei(payer)
    inference = ask()
    finish_answer(inference.pk, Meter(prompt_ids=[1, 2], prompt_tokens=2))
    inference.refresh_from_db()
    assert (inference.state, inference.fee_wei) == (Inference.State.FAILED, 0)
    assert spendable_wei(payer) == before
    assert not Job.objects.filter(kind="marketplace.settle_answer").exists()


def test_a_question_that_failed_may_be_sent_again_under_its_key(ask: Ask) -> None:
    """A client that tries again after 503 must get an answer, not an empty success."""
    first = ask(key="k-1")
    finish_answer(first.pk, Meter(finish_reason="error", error_code="engine_unavailable"))
    assert ask(key="k-1") != first


def test_a_meter_gone_wild_is_never_billed_above_the_hold(ask: Ask) -> None:
    inference = ask()
    finish_answer(inference.pk, Meter(["x"], [1], [2], 10**9, 10**9, "stop"))
    inference.refresh_from_db()
    assert inference.fee_wei == inference.hold.amount_wei


def test_finishing_twice_changes_nothing(ask: Ask) -> None:
    inference = ask()
    finish_answer(inference.pk, Meter(["Hi"], [1], [2], 1, 1, "stop"))
    finish_answer(inference.pk, Meter(["Other"], [1], [2, 3, 4], 1, 3, "stop"))
    inference.refresh_from_db()
    assert (inference.answer, inference.completion_tokens) == ("Hi", 1)
    assert Job.objects.filter(kind="marketplace.settle_answer").count() == 1


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_an_answer_that_postgresql_cannot_store_is_stored_readably(ask: Ask, text: str) -> None:
    """A model can say anything; money that was spent must still be booked."""
    inference = ask()
    finish_answer(inference.pk, Meter([text], [1], [2], 1, 1, "stop"))
    inference.refresh_from_db()
    assert inference.state == Inference.State.ANSWERED


def test_the_meter_counts_what_came_when_the_engine_never_said_how_much() -> None:
    meter = Meter()
    meter.add(Event("r", prompt_ids=(1, 2, 3)))
    meter.add(Event("r", token_ids=(4, 5), text_delta="Hi"))
    assert (meter.prompt_tokens, meter.completion_tokens) == (3, 2)
    assert meter.finish_reason == "cancelled"


def test_the_meter_takes_the_engines_own_count() -> None:
    meter = Meter()
    meter.add(Event("r", token_ids=(4,), finish_reason="stop", usage=Usage(7, 2)))
    assert (meter.prompt_tokens, meter.completion_tokens, meter.finish_reason) == (7, 2, "stop")


def test_the_sweep_frees_what_a_dead_web_process_left(ask: Ask, payer: User) -> None:
    before = spendable_wei(payer)
    inference = ask(key="k-1")
    Inference.objects.update(created_at=Now() - timedelta(minutes=11))
    assert sweep_answers() == 1
    inference.refresh_from_db()
    assert (inference.state, inference.error_code) == (Inference.State.FAILED, "abandoned")
    assert inference.hold.state == Hold.State.VOIDED
    assert spendable_wei(payer) == before
    assert ask(key="k-1") != inference


def test_the_sweep_leaves_answers_under_way_alone(ask: Ask, answered: Inference) -> None:
    under_way = ask()
    assert sweep_answers() == 0
    under_way.refresh_from_db()
    assert under_way.state == Inference.State.ANSWERING


def test_a_late_finish_after_the_sweep_bills_nothing(ask: Ask) -> None:
    inference = ask()
    Inference.objects.update(created_at=Now() - timedelta(minutes=11))
    sweep_answers()
    finish_answer(inference.pk, Meter(["Hi"], [1], [2], 1, 1, "stop"))
    inference.refresh_from_db()
    assert (inference.state, inference.fee_wei) == (Inference.State.FAILED, 0)


def test_an_answer_is_paid_though_attribution_stood_still_over_a_weekend(
    answered: Inference, payer: User
) -> None:
    """What was delivered is owed: nobody's hold ends while the answer waits behind others."""
    Hold.objects.update(expires_at=F("expires_at") - timedelta(days=3))
    expire_holds()
    run_attempt(answered)
    assert answered.settled, answered.job and answered.job.message


def test_an_answer_whose_reader_stands_still_is_paid_as_far_as_it_came(
    ask: Ask, payer: User, engine_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever reads the last word after the sweep has the whole answer for nothing."""
    settings.ENGINE_URL, settings.ENGINE_TOKEN = engine_url, TOKEN
    inference = ask("What is known about the tern?")
    heard: list[str] = []

    async def stand_still() -> None:
        limits = sys.modules[stream_answer.__module__]
        monkeypatch.setattr(limits, "STREAM_SECONDS_MAX", 0, raising=False)
        for _ in range(100):
            await asyncio.sleep(0.05)
            await inference.arefresh_from_db()
            if inference.state != Inference.State.ANSWERING:
                break
        await Inference.objects.aupdate(created_at=Now() - timedelta(minutes=11))
        await sync_to_async(sweep_answers)()

    async def read() -> None:
        async for event in stream_answer(inference):
            heard.append(event.text_delta)
            if len(heard) == 2:
                await stand_still()

    async_to_sync(read)()
    inference.refresh_from_db()
    assert len(heard) == 2
    assert inference.answer == "".join(heard)
    assert inference.fee_wei > 0
