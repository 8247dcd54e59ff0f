"""Who closes their account: answers are erased, agents retire, models are offered no more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from django.db import OperationalError, connection, connections, transaction

from marketplace.models import Agent, Inference
from marketplace.tests.conftest import OPEN, give_money
from modelfactory.models import Model
from openledger_site.accounts.closing import Hint, close_account, losses_of, obstacles_of
from openledger_site.accounts.models import User
from openledger_site.core.errors import NotAllowed
from openledger_site.core.jobs import run_job
from openledger_site.core.models import Job
from rewards.models import Account
from rewards.services.ledger import post, system_account, user_account

pytestmark = pytest.mark.django_db


def give_back(user: User) -> None:
    """The balance, as a withdrawal takes it."""
    account = user_account(user, Account.Kind.SPENDABLE)
    account.refresh_from_db()
    amount = account.available_wei
    post(
        key="test:taken", kind="withdrawal", reason="Taken",
        legs=[(account, -amount), (system_account(Account.Kind.CUSTODY), amount)],
    )  # fmt: skip


def sentences(hints: list[Hint]) -> str:
    return " ".join(hint.sentence for hint in hints)


def test_a_payer_takes_the_balance_first_and_what_they_asked_is_erased(
    settled: Inference, payer: User
) -> None:
    assert "Take your balance of" in sentences(obstacles_of(payer))
    give_back(payer)
    assert not obstacles_of(payer)
    assert "they are erased" in sentences(losses_of(payer))
    close_account(user=payer, withdraw_rows=True)
    run_job(str(Job.objects.get(kind="marketplace.erase_answers").pk))
    assert Inference.objects.get().erased


def test_an_answer_under_way_is_waited_for(answered: Inference, payer: User) -> None:
    found = sentences(obstacles_of(payer))
    assert "still being paid for" in found
    assert "no receipt yet" in found


def test_a_builders_models_and_agents_are_offered_no_more(
    model: Model, bot: Agent, builder: User, stranger: User
) -> None:
    assert model.owner == builder
    assert model.name in sentences(losses_of(builder))
    close_account(user=builder, withdraw_rows=True)
    model.refresh_from_db()
    assert model.visibility == Model.Visibility.PRIVATE
    assert "agent" in sentences(losses_of(stranger))
    close_account(user=stranger, withdraw_rows=True)
    bot.refresh_from_db()
    assert bot.retired_at is not None


def test_what_was_earned_and_not_paid_is_said(settled: Inference, contributor: User) -> None:
    assert "that you earned and that no epoch has paid yet" in sentences(losses_of(contributor))


def test_nobody_asks_for_an_account_that_is_closed(
    ask: Callable[..., Inference], payer: User
) -> None:
    """Signed in a moment ago, closed in another window: the question would outlive the account."""
    give_back(payer)
    give_money(payer, OPEN // 2)  # too little to withdraw, enough to ask
    close_account(user=payer, withdraw_rows=True)
    with pytest.raises(NotAllowed):
        ask()
    assert not Inference.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_account_waits_for_the_question_that_is_being_asked(
    ask: Callable[..., Inference], payer: User
) -> None:
    give_back(payer)
    give_money(payer, OPEN // 2)
    asked, go_on = Event(), Event()

    def ask_slowly() -> None:
        with transaction.atomic():
            ask()
            asked.set()
            go_on.wait(10)
        connections.close_all()

    with ThreadPoolExecutor(1) as other:
        asking = other.submit(ask_slowly)
        assert asked.wait(60)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '300ms'")
            with pytest.raises(OperationalError, match="lock timeout"):
                close_account(user=payer, withdraw_rows=True)
        finally:
            go_on.set()
            asking.result()
            connection.close()
    payer.refresh_from_db()
    assert payer.is_active
