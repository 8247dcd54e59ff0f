"""The refund of an answer in pages: asked on the receipt, decided by the staff, seen everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client

from marketplace.models import Inference
from marketplace.selectors import Month, income_of, spending_of
from marketplace.selectors.spending import invoice_rows
from marketplace.services import ask_for_refund
from marketplace.tests.conftest import OPEN
from openledger_site.accounts.models import User
from rewards.models import EarningLine, RefundRequest, Settlement
from rewards.services import reconcile, spendable_wei

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user("Stella", is_staff=True)


@pytest.fixture
def form_url(settled: Inference) -> str:
    return f"/marketplace/answers/{settled.public_id}/refund/"


@pytest.fixture
def receipt_url(settled: Inference) -> str:
    return f"/marketplace/answers/{settled.public_id}/receipt/"


def asked_by(client: Client, url: str, **changed: Any) -> Any:
    return client.post(url, {"reason": "unusable", "words": "No bird in it."} | changed)


def test_a_receipt_offers_a_refund_within_its_window(
    as_user: SignIn, payer: User, settled: Inference, form_url: str, receipt_url: str
) -> None:
    client = as_user(payer)
    assert form_url in client.get(receipt_url).content.decode()
    Settlement.objects.update(created_at=F("created_at") - timedelta(days=8))
    page = client.get(receipt_url).content.decode()
    assert form_url not in page
    assert "The refund window ended" in page
    late = asked_by(client, form_url)
    assert (late.status_code, RefundRequest.objects.count()) == (409, 0)
    assert "refund window of this answer is over" in late.content.decode()


def test_asked_decided_and_seen_on_every_page(
    as_user: SignIn, payer: User, staff: User, settled: Inference, contributor: User,
    form_url: str, receipt_url: str,
) -> None:  # fmt: skip
    client, decider = as_user(payer), as_user(staff)
    place = asked_by(client, form_url)["Location"]
    assert "Waiting for a decision" in client.get(place).content.decode()
    assert place in client.get(receipt_url).content.decode()
    page = decider.get(place).content.decode()
    assert "No bird in it." in page
    assert settled.answer not in page  # the answer is the consumer's own
    assert settled.question not in page
    answer = decider.post(place, {"decision": "grant", "words": "It names none."})
    assert answer.status_code == 302
    assert spendable_wei(payer) == 10 * OPEN
    assert "It names none." in client.get(place).content.decode()
    assert "The whole fee is back" in client.get(receipt_url).content.decode()
    assert "Refunded" in client.get("/marketplace/answers/").content.decode()
    earned = as_user(contributor).get(f"/marketplace/earned/{settled.public_id}/")
    assert "Refunded" in earned.content.decode()
    assert "Refund: it cannot be used" in client.get("/rewards/").content.decode()


def test_what_was_refunded_is_not_spent_and_no_income(
    payer: User, staff: User, settled: Inference
) -> None:
    from rewards.services import decide_refund

    fee = settled.fee_wei
    month = Month.named("")
    assert spending_of(payer, month)["totals"]["wei"] == fee == income_of(settled.model)["fees_wei"]
    request = ask_for_refund(inference=settled, asked_by=payer, reason="unusable")
    decide_refund(request, decided_by=staff, grant=True)
    assert spending_of(payer, month)["totals"]["wei"] == 0
    assert income_of(settled.model) == {"answers": 0, "fees_wei": 0}
    head, row = invoice_rows(payer, month)
    told = dict(zip(head, row, strict=True))
    assert (told["fee_wei"], told["refunded_wei"]) == (str(fee), str(fee))
    assert not reconcile().problems["I7"]


@pytest.mark.parametrize("broken", [{"finish_reason": "error"}, {"answer": " \n"}])
def test_an_answer_that_broke_off_or_is_empty_is_refunded_at_once(
    payer: User, settled: Inference, broken: dict[str, str]
) -> None:
    Inference.objects.filter(pk=settled.pk).update(**broken)
    settled.refresh_from_db()
    request = ask_for_refund(inference=settled, asked_by=payer, reason="broken")
    assert (request.state, request.decided_by) == ("granted", None)
    assert spendable_wei(payer) == 10 * OPEN
    assert set(EarningLine.objects.values_list("state", flat=True)) == {"refunded"}


def test_an_answer_that_is_not_settled_cannot_be_refunded_yet(
    as_user: SignIn, payer: User, answered: Inference
) -> None:
    url = f"/marketplace/answers/{answered.public_id}/refund/"
    assert "not settled yet" in as_user(payer).get(url).content.decode()
    assert asked_by(as_user(payer), url).status_code == 409


def test_a_refusal_is_told_with_its_reason_and_needs_one(
    as_user: SignIn, payer: User, staff: User, settled: Inference, form_url: str
) -> None:
    place = asked_by(as_user(payer), form_url)["Location"]
    assert as_user(staff).post(place, {"decision": "refuse"}).status_code == 422
    as_user(staff).post(place, {"decision": "refuse", "words": "It answers it."})
    assert "It answers it." in as_user(payer).get(place).content.decode()
    assert spendable_wei(payer) == 10 * OPEN - settled.fee_wei
    again = asked_by(as_user(payer), form_url)
    assert again.status_code == 409


def test_strangers_find_nothing_and_payers_do_not_decide(
    as_user: SignIn, payer: User, stranger: User, contributor: User, form_url: str
) -> None:
    assert as_user(stranger).get(form_url).status_code == 404
    place = asked_by(as_user(payer), form_url)["Location"]
    for person in (stranger, contributor):
        assert as_user(person).get(place).status_code == 404
    grant = {"decision": "grant", "words": "Yes"}
    assert as_user(payer).post(place, grant).status_code == 403
    User.objects.filter(pk=payer.pk).update(is_staff=True)
    assert as_user(payer).post(place, grant).status_code == 403
    assert RefundRequest.objects.get().state == "open"


def test_a_form_sent_twice_asks_once(as_user: SignIn, payer: User, form_url: str) -> None:
    fields = {"idempotency_key": "k-1"}
    first = asked_by(as_user(payer), form_url, **fields)
    again = asked_by(as_user(payer), form_url, **fields)
    assert first["Location"] == again["Location"]
    assert RefundRequest.objects.count() == 1


def test_the_admin_lists_what_waits(as_user: SignIn, payer: User, form_url: str) -> None:
    place = asked_by(as_user(payer), form_url)["Location"]
    chief = User.objects.create_superuser("chief@example.org", "correct horse 7 battery")
    page = as_user(chief).get("/admin/rewards/refundrequest/")
    assert place in page.content.decode()
