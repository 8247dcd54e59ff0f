"""Refunds inside the holding window: asked once, decided once, reversed to the wei."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pgtrigger
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from openledger_site.accounts.closing import losses_of
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import NotAllowed
from openledger_site.core.money import format_open
from rewards.models import Account, EarningLine, Entry, RefundRequest, Settlement, Transaction
from rewards.selectors import spendable_wei
from rewards.services import place_hold, refund_answer, release_earnings, settle_answer
from rewards.services.ledger import lock_accounts, post, system_account, user_account
from rewards.services.reconcile import _BOOK_CHECKS
from rewards.services.refunds import (
    ASKED_PER_MONTH_MAX,
    OPEN_PER_PERSON_MAX,
    AlreadyAsked,
    AlreadyDecided,
    NothingCharged,
    TooManyRefunds,
    ask_refund,
    decide_refund,
)
from rewards.services.settlements import RefundTooLate
from rewards.tests.conftest import OPEN, until_somebody_waits

pytestmark = pytest.mark.django_db
Fund = Callable[[User, int], None]
Pay = Callable[..., str]


@pytest.fixture
def pay(fund: Fund, consumer: User, builder: User, contributor: User) -> Pay:
    """Settle an answer of one OPEN and a bit; its key."""
    fund(consumer, 100 * OPEN)

    def settle(fee_wei: int = OPEN + 7, shares: list[tuple[int, int]] | None = None) -> str:
        key = str(uuid4())
        hold = place_hold(consumer, max(fee_wei, 1), key=key, reason="Answer")
        settle_answer(
            hold=hold,
            key=key,
            fee_wei=fee_wei,
            builder=builder,
            contributor_shares=[(contributor.pk, 1)] if shares is None else shares,
            reason="Answer",
            source_url="/answer/",
        )
        return key

    return settle


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user("Stella", is_staff=True)


def balances() -> dict[str, int]:
    rows = Account.objects.exclude(balance_wei=0).values_list("code", "balance_wei")
    return {code: int(wei) for code, wei in rows}


def books_are_sound() -> bool:
    return not any(check() for check in _BOOK_CHECKS.values())


def test_who_closes_the_account_meanwhile_is_told_what_is_lost(
    pay: Pay, consumer: User, staff: User
) -> None:
    request = ask_refund(pay(), asked_by=consumer, reason="unusable")
    told = f"A refund of {format_open(OPEN + 7)} OPEN"
    assert told in " ".join(hint.sentence for hint in losses_of(consumer))
    decide_refund(request, decided_by=staff, grant=False)
    assert not any("refund" in hint.sentence for hint in losses_of(consumer))


def test_a_granted_refund_gives_everybody_back_what_they_had(
    pay: Pay, consumer: User, staff: User
) -> None:
    before = balances()
    key = pay()
    request = ask_refund(key, asked_by=consumer, reason="unusable", words="It names no bird.")
    decided = decide_refund(request, decided_by=staff, grant=True, words="True.")
    assert (decided.state, decided.decided_by) == ("granted", staff)
    assert balances() == before
    settlement = Settlement.objects.get(key=key)
    assert settlement.refund is not None
    assert set(settlement.lines.values_list("state", "moved_by")) == {
        ("refunded", settlement.refund.pk)
    }
    assert books_are_sound()


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fee=st.one_of(st.integers(1, 50), st.integers(1, 40 * OPEN)),
    weights=st.lists(st.integers(0, 2**64), max_size=4),
    has_builder=st.booleans(),
)
def test_settle_and_refund_of_any_split_leaves_every_account_as_before(
    fee: int,
    weights: list[int],
    has_builder: bool,
    fund: Fund,
    consumer: User,
    builder: User,
    contributor: User,
    owner: User,
    reviewer: User,
) -> None:
    fund(consumer, fee)
    before, key = balances(), str(uuid4())
    people = [contributor, owner, reviewer, builder]
    settle_answer(
        hold=place_hold(consumer, fee, key=key, reason="Answer"),
        key=key,
        fee_wei=fee,
        builder=builder if has_builder else None,
        contributor_shares=[(person.pk, w) for person, w in zip(people, weights, strict=False)],
        reason="Answer",
        source_url="",
    )
    assert balances() != before
    refund_answer(key)
    refund_answer(key)
    assert balances() == before
    assert books_are_sound()


def test_while_it_waits_the_earnings_are_not_released(
    pay: Pay, consumer: User, staff: User, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 60
    key = pay()
    EarningLine.objects.update(matures_at=timezone.now())  # the next release would take them
    request = ask_refund(key, asked_by=consumer, reason="unusable")
    _pass_time(key, 61)
    assert release_earnings() == 0
    decide_refund(request, decided_by=staff, grant=False, words="It answers the question.")
    assert release_earnings() == 2
    assert spendable_wei(consumer) == 99 * OPEN - 7


def test_a_decision_after_its_time_is_refused_and_the_earnings_go_on(
    pay: Pay, consumer: User, staff: User, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS, settings.REFUND_DECISION_SECONDS = 60, 0
    key = pay()
    request = ask_refund(key, asked_by=consumer, reason="unusable")
    _pass_time(key, 61)
    with pgtrigger.ignore("rewards.RefundRequest:refund_request_never_changes"):
        RefundRequest.objects.update(decide_by=timezone.now() - timedelta(seconds=1))
    request.refresh_from_db()
    assert request.lapsed
    with pytest.raises(RefundTooLate):
        decide_refund(request, decided_by=staff, grant=True)
    EarningLine.objects.update(matures_at=F("matures_at") - timedelta(seconds=61))
    assert release_earnings() == 2


def _pass_time(key: str, seconds: int) -> None:
    row = Settlement.objects.filter(key=key)
    row.update(created_at=F("created_at") - timedelta(seconds=seconds))


def test_after_the_window_one_cannot_ask(pay: Pay, consumer: User, settings: Settings) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 60
    key = pay()
    _pass_time(key, 61)
    with pytest.raises(RefundTooLate, match="window of this answer is over"):
        ask_refund(key, asked_by=consumer, reason="empty")
    with pytest.raises(RefundTooLate):
        refund_answer(key)


def test_an_answer_that_paid_nobody_has_a_window_too(
    fund: Fund, consumer: User, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 60
    fund(consumer, OPEN)
    settle_answer(
        hold=place_hold(consumer, OPEN, key="a", reason="Answer"), key="a", fee_wei=OPEN,
        builder=None, contributor_shares=[], reason="Answer", source_url="",
    )  # fmt: skip
    assert not EarningLine.objects.exists()
    _pass_time("a", 61)
    with pytest.raises(RefundTooLate):
        refund_answer("a")


def test_once_released_one_cannot_ask(pay: Pay, consumer: User) -> None:
    key = pay()
    EarningLine.objects.update(matures_at=timezone.now())
    release_earnings()
    with pytest.raises(RefundTooLate):
        ask_refund(key, asked_by=consumer, reason="empty")


def test_an_answer_is_asked_about_and_decided_once(pay: Pay, consumer: User, staff: User) -> None:
    key = pay()
    request = ask_refund(key, asked_by=consumer, reason="empty")
    with pytest.raises(AlreadyAsked):
        ask_refund(key, asked_by=consumer, reason="empty")
    decide_refund(request, decided_by=staff, grant=False, words="No.")
    with pytest.raises(AlreadyDecided):
        decide_refund(request, decided_by=staff, grant=True)
    with pytest.raises(AlreadyAsked):
        ask_refund(key, asked_by=consumer, reason="empty")


def test_only_the_payer_asks_and_only_uninvolved_staff_decides(
    pay: Pay, consumer: User, contributor: User, stranger: User, staff: User
) -> None:
    key = pay()
    for person in (stranger, contributor, staff):
        with pytest.raises(NotAllowed):
            ask_refund(key, asked_by=person, reason="empty")
    request = ask_refund(key, asked_by=consumer, reason="empty")
    User.objects.filter(pk__in=[consumer.pk, contributor.pk]).update(is_staff=True)
    for person in (stranger, User.objects.get(pk=consumer.pk), User.objects.get(pk=contributor.pk)):
        with pytest.raises(NotAllowed):
            decide_refund(request, decided_by=person, grant=True)
    assert RefundRequest.objects.get().state == "open"


def test_a_free_answer_has_nothing_to_give_back(pay: Pay, consumer: User) -> None:
    with pytest.raises(NothingCharged):
        ask_refund(pay(0), asked_by=consumer, reason="empty")


def test_nobody_keeps_others_waiting_without_end(pay: Pay, consumer: User, staff: User) -> None:
    requests = [
        ask_refund(pay(1_000), asked_by=consumer, reason="empty")
        for _ in range(OPEN_PER_PERSON_MAX)
    ]
    with pytest.raises(TooManyRefunds, match="wait for a decision"):
        ask_refund(pay(), asked_by=consumer, reason="empty")
    for _ in range(ASKED_PER_MONTH_MAX - OPEN_PER_PERSON_MAX):
        decide_refund(requests.pop(), decided_by=staff, grant=False)
        requests.append(ask_refund(pay(1_000), asked_by=consumer, reason="empty"))
    decide_refund(requests.pop(), decided_by=staff, grant=False)
    with pytest.raises(TooManyRefunds, match="30 days"):
        ask_refund(pay(), asked_by=consumer, reason="empty")


def test_money_that_has_left_its_account_is_not_reversed(pay: Pay, consumer: User) -> None:
    """The platform spent its part meanwhile: half a reversal would be worse than none."""
    key = pay()
    pool = system_account(Account.Kind.FEES)
    away = user_account(consumer, Account.Kind.SPENDABLE)
    post(key="paid on", kind="test", legs=[(pool, -pool.balance_wei), (away, pool.balance_wei)],
         reason="Test")  # fmt: skip
    with pytest.raises(RefundTooLate, match="has left the account"):
        refund_answer(key)
    assert Settlement.objects.get(key=key).refund is None
    assert books_are_sound()


def test_reconcile_sees_a_refund_that_is_not_the_reversal(pay: Pay, consumer: User) -> None:
    key = pay()
    refund_answer(key)
    EarningLine.objects.filter(role="builder").update(state="payable")
    assert _BOOK_CHECKS["I7"]() == [f"settlement {key}: its refund is not its reversal"]
    EarningLine.objects.filter(role="builder").update(state="refunded")
    assert _BOOK_CHECKS["I7"]() == []
    other = pay()
    wrong = Transaction.objects.get(key=f"answer:{other}")
    Settlement.objects.filter(key=other).update(refund=wrong)
    assert any(other in problem for problem in _BOOK_CHECKS["I7"]())


def test_the_database_keeps_what_was_asked_and_decided(
    pay: Pay, consumer: User, staff: User
) -> None:
    request = ask_refund(pay(), asked_by=consumer, reason="empty", words="Nothing there.")
    row = RefundRequest.objects.filter(pk=request.pk)
    with pytest.raises(Exception, match="Cannot"), transaction.atomic():
        row.update(words="Something else")
    with pytest.raises(IntegrityError), transaction.atomic():
        row.update(state="granted")  # without a time
    decide_refund(request, decided_by=staff, grant=False)
    with pytest.raises(Exception, match="Cannot"), transaction.atomic():
        row.update(state="granted")
    with pytest.raises(IntegrityError, match="kept"), transaction.atomic():
        row.delete()


@pytest.mark.django_db(transaction=True)
def test_eight_decisions_at_once_reverse_once(pay: Pay, consumer: User, staff: User) -> None:
    before = balances()
    key = pay()
    request = ask_refund(key, asked_by=consumer, reason="unusable")

    def decide(number: int) -> bool:
        try:
            decide_refund(request, decided_by=staff, grant=number % 2 == 0)
        except AlreadyDecided:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(decide, range(8))) == 1
    if RefundRequest.objects.get().state == "granted":
        assert balances() == before
    assert Entry.objects.filter(transaction__kind="refund").count() in (0, 6)
    assert books_are_sound()


@pytest.mark.django_db(transaction=True)
def test_a_release_and_a_request_at_once_never_both_win(pay: Pay, consumer: User) -> None:
    for _ in range(5):
        key = pay(1_000_000)
        lines = EarningLine.objects.filter(settlement__key=key)
        lines.update(matures_at=timezone.now())

        def ask(key: str = key) -> bool:
            try:
                decide_refund(
                    ask_refund(key, asked_by=consumer, reason="empty"), decided_by=None, grant=True
                )
            except RefundTooLate:
                return False
            else:
                return True
            finally:
                connection.close()

        def release() -> int:
            try:
                return release_earnings()
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            asked, released = pool.submit(ask), pool.submit(release)
            assert asked.result() != bool(released.result())
        assert books_are_sound()


@pytest.mark.django_db(transaction=True)
def test_a_refund_by_rule_and_an_answer_that_is_paid_do_not_wait_in_a_circle(
    pay: Pay, consumer: User
) -> None:
    """Paying locks accounts and then the audit log; so does a refund that is asked and granted."""
    key = pay()

    def ask_and_grant() -> None:
        with transaction.atomic():
            request = ask_refund(key, asked_by=consumer, reason="empty")
            decide_refund(request, decided_by=None, grant=True)
        connection.close()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            lock_accounts([system_account(Account.Kind.FEES).pk])
            refunding = other.submit(ask_and_grant)
            until_somebody_waits()
            record_audit("answer.settle", actor=consumer, subject="settlement:1")
        refunding.result()
    assert Settlement.objects.get(key=key).refund is not None
