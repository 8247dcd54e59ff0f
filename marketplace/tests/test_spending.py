"""Spending: caps that hold against questions at once, one alert a month, and the month's table."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from marketplace.models import Inference, SpendingCap
from marketplace.selectors import Month, spending_of, spent_since
from marketplace.services import (
    Sampling,
    SpendingCapReached,
    finish_answer,
    mail_spending_alert,
    reserve_answer,
    set_spending_cap,
)
from marketplace.services.limit_spending import check_spending_caps
from marketplace.services.stream_answer import Meter
from modelfactory.models import Model
from openledger_site.accounts.models import ApiKey, User
from openledger_site.accounts.services import create_api_key
from openledger_site.core.models import OutboxMessage
from openledger_site.core.money import exact_open, parse_open
from rewards.models import Hold
from rewards.services import spendable_wei

pytestmark = pytest.mark.django_db
Ask = Callable[..., Inference]
OPEN = 10**18
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def key(payer: User) -> ApiKey:
    return create_api_key(payer, name="agent", scopes=["inference"])[0]


def cap(user: User, key: ApiKey | None = None, **wei: int | None) -> SpendingCap:
    return set_spending_cap(
        consumer=user, api_key=key, **{"day_wei": None, "month_wei": None, **wei}
    )


def test_a_question_that_could_exceed_the_day_is_refused_and_nothing_is_held(
    ask: Ask, payer: User
) -> None:
    price, before = ask().hold.amount_wei, spendable_wei(payer)
    cap(payer, day_wei=2 * price - 1)
    with pytest.raises(SpendingCapReached) as refusal:
        ask()
    assert (refusal.value.status, refusal.value.limit) == (402, 2 * price - 1)
    assert (Inference.objects.count(), Hold.objects.count()) == (1, 1)
    assert spendable_wei(payer) == before


def test_a_cap_counts_fees_once_they_are_known(ask: Ask, payer: User) -> None:
    first = ask()
    held = first.hold.amount_wei
    finish_answer(first.pk, Meter(["Yes."], [1], [2], 1, 1, "stop"))
    first.refresh_from_db()
    assert first.fee_wei < held
    assert spent_since(payer, LONG_AGO) == first.fee_wei
    cap(payer, day_wei=held + first.fee_wei)
    ask()
    with pytest.raises(SpendingCapReached):
        ask()


def test_what_was_refused_costs_nothing_of_a_cap(ask: Ask, payer: User) -> None:
    finish_answer(ask().pk, Meter(finish_reason="error", error_code="gone"))
    assert spent_since(payer, LONG_AGO) == 0


def test_a_key_has_its_own_budget(ask: Ask, payer: User, key: ApiKey) -> None:
    price = ask(api_key=key).hold.amount_wei
    cap(payer, key, month_wei=price)
    with pytest.raises(SpendingCapReached, match="the key “agent”"):
        ask(api_key=key)
    ask()
    other, _ = create_api_key(payer, name="other", scopes=["inference"])
    ask(api_key=other)


def test_zero_stops_all_spending_and_empty_allows_it_again(ask: Ask, payer: User) -> None:
    cap(payer, month_wei=0)
    with pytest.raises(SpendingCapReached):
        ask()
    cap(payer)
    ask()


def test_yesterday_does_not_count_today(ask: Ask, payer: User) -> None:
    price = ask().hold.amount_wei
    Inference.objects.update(created_at=LONG_AGO)
    cap(payer, day_wei=price, month_wei=price)
    ask()


def test_an_answer_counts_for_the_day_that_dates_it_though_a_clock_is_in_the_next(
    ask: Ask, payer: User
) -> None:
    price = ask().hold.amount_wei
    ask()
    Inference.objects.update(created_at=LONG_AGO)
    cap(payer, day_wei=price)
    with pytest.raises(SpendingCapReached):
        check_spending_caps(Inference.objects.latest("pk"))


@pytest.mark.django_db(transaction=True)
def test_questions_at_once_do_not_slip_under_a_cap_together(model: Model, payer: User) -> None:
    asked: dict[str, Any] = {
        "consumer": payer, "model": model, "sampling": Sampling(), "channel": "api",
        "messages": [{"role": "user", "content": "Why do wrens sing?"}],
    }  # fmt: skip
    price = reserve_answer(**asked)[0].hold.amount_wei
    cap(payer, day_wei=3 * price)
    start = threading.Barrier(6)

    def go(_: int) -> bool:
        try:
            start.wait()
            reserve_answer(**asked)
        except SpendingCapReached:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(go, range(6))) == 2
    assert spent_since(payer, LONG_AGO) == 3 * price


def test_one_alert_a_month(ask: Ask, payer: User, mailoutbox: list[Any]) -> None:
    price = ask().hold.amount_wei
    found = cap(payer, month_wei=4 * price)
    ask()
    assert not OutboxMessage.objects.filter(task="marketplace.mail_spending_alert").exists()
    for _ in range(2):
        Inference.objects.filter(pk=ask().pk)
    messages = OutboxMessage.objects.filter(task="marketplace.mail_spending_alert")
    assert [message.arguments for message in messages] == [{"cap_id": found.pk}]
    assert mail_spending_alert(found.pk) == 1
    assert "80 %" in mail.outbox[0].body
    assert reverse("marketplace:spending") in mail.outbox[0].body


def test_an_alert_for_who_has_no_address_is_only_on_the_page(payer: User) -> None:
    User.objects.filter(pk=payer.pk).update(email=None)
    assert mail_spending_alert(cap(payer, month_wei=1).pk) == 0


def test_the_month_adds_up_by_model_key_and_day(ask: Ask, payer: User, key: ApiKey) -> None:
    ask()
    ask(api_key=key)
    found = spending_of(payer, Month.named(""))
    total = spent_since(payer, LONG_AGO)
    assert found["totals"]["wei"] == total
    for table in ("by_model", "by_key"):
        assert sum(row["wei"] for row in found[table]) == total
    assert sum(wei for _, wei in found["by_day"]) == total
    assert [row["answers"] for row in found["by_key"]] == [1, 1]


@pytest.mark.parametrize("text", ["9999-12", "0001-01", "2026-13", "now"])
def test_a_month_that_nobody_spent_in_is_the_present_one(text: str) -> None:
    assert Month.named(text) == Month.named("")


def test_a_month_knows_its_neighbours() -> None:
    month = Month.named("2024-12")
    assert (month.earlier.name, month.end.date()) == ("2024-11", date(2025, 1, 1))
    assert month.later is not None
    assert month.later.name == "2025-01"
    assert Month.named("2024-13").later is None
    assert Month.named("").later is None


def test_the_page_shows_the_month_and_takes_caps(
    ask: Ask, payer: User, key: ApiKey, as_user: Callable[[User], Client]
) -> None:
    ask(api_key=key)
    client, page = as_user(payer), reverse("marketplace:spending")
    before = client.get(page).content
    assert b"agent" in before
    assert b"has a cap" not in before
    client.post(reverse("marketplace:spending-cap"), {"month": "12.5", "alert_percent": "50"})
    key_url = reverse("marketplace:spending-key-cap", args=[key.public_id])
    prefix = key.public_id
    client.post(key_url, {f"{prefix}-day": "0.25", f"{prefix}-alert_percent": "80"})
    caps = SpendingCap.objects.order_by("pk").values_list("day_wei", "month_wei", "alert_percent")
    assert list(caps) == [(None, 25 * OPEN // 2, 50), (OPEN // 4, None, 80)]
    capped = client.get(page).content
    assert b'value="12.5"' in capped
    assert b"has a cap" in capped
    wrong = client.post(reverse("marketplace:spending-cap"), {"day": "many", "alert_percent": "80"})
    assert wrong.status_code == 422


def test_nobody_caps_the_key_of_another(
    payer: User, stranger: User, key: ApiKey, as_user: Callable[[User], Client]
) -> None:
    url = reverse("marketplace:spending-key-cap", args=[key.public_id])
    assert as_user(stranger).post(url, {}).status_code == 404


def test_the_table_of_a_month_has_no_words_of_anybody(
    settled: Inference, payer: User, stranger: User, as_user: Callable[[User], Client]
) -> None:
    url = reverse("marketplace:spending-invoice")
    text = b"".join(as_user(payer).get(url)).decode()  # type: ignore[arg-type] # streamed
    head, line = csv.reader(io.StringIO(text))
    row = dict(zip(head, line, strict=True))
    assert row["fee_wei"] == str(settled.fee_wei)
    assert row["receipt_sha256"] == settled.receipt.digest
    assert settled.answer not in text
    assert settled.question not in text
    assert len(b"".join(as_user(stranger).get(url)).splitlines()) == 1  # type: ignore[arg-type] # streamed


@given(st.integers(min_value=0, max_value=10**40))
def test_an_exact_amount_reads_back(wei: int) -> None:
    assert parse_open(exact_open(wei)) == wei
