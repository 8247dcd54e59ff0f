"""The pages and the API of withdrawals: whose they are, what they refuse, and twice is once."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from openledger_site.accounts.services import create_api_key
from rewards.chain.contracts import Addresses
from rewards.models import ChainTransaction, PayoutFreeze, Withdrawal
from rewards.selectors import spendable_wei
from rewards.services.withdrawals import ask_withdrawal
from rewards.tests.conftest import OPEN, Fund

pytestmark = pytest.mark.django_db
ADDRESS = "0x" + "1" * 40
NEW, API = "/rewards/withdrawals/new/", "/rewards/api/withdrawals"


@pytest.fixture(autouse=True)
def rich(consumer: User, fund: Fund, settings: Settings, tmp_path: Path) -> None:
    """Quinn has three OPEN and a wallet, and the site has contracts."""
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    zero = "0x" + "0" * 40
    Addresses(31337, zero, zero, zero, zero, 1, "", "").save(settings.CHAIN_ADDRESSES_FILE)
    fund(consumer, 3 * OPEN)
    Wallet.objects.create(user=consumer, address=ADDRESS, chain_id=31337)


def asked(consumer: User) -> Withdrawal:
    return ask_withdrawal(user=consumer, address=ADDRESS, amount_wei=OPEN)


def page_of(withdrawal: Withdrawal) -> str:
    return f"/rewards/withdrawals/{withdrawal.public_id}/"


def cancel_of(withdrawal: Withdrawal) -> str:
    return f"{page_of(withdrawal)}cancel/"


def form(**changed: Any) -> dict[str, Any]:
    return {"amount": "1.5", "address": ADDRESS, "idempotency_key": str(uuid4())} | changed


def test_anonymous_visitors_are_asked_to_sign_in(client: Client) -> None:
    assert client.post(NEW, form()).status_code == 302
    assert client.post(API).status_code == 401
    assert not Withdrawal.objects.exists()


def test_the_page_offers_what_there_is_and_shows_nothing_yet(
    client: Client, consumer: User
) -> None:
    client.force_login(consumer)
    content = client.get("/rewards/").content.decode()
    assert "No withdrawal yet." in content
    assert f'value="{3 * OPEN}"' in content
    assert ADDRESS in content


def test_whoever_has_no_wallet_or_too_little_is_told_so(client: Client, stranger: User) -> None:
    client.force_login(stranger)
    assert "Link a wallet below" in client.get("/rewards/").content.decode()
    Wallet.objects.create(user=stranger, address="0x" + "2" * 40, chain_id=31337)
    assert "your balance can go back" in client.get("/rewards/").content.decode()


def test_a_withdrawal_is_queued_and_its_page_says_how_far_it_is(
    client: Client, consumer: User
) -> None:
    client.force_login(consumer)
    response = client.post(NEW, form())
    withdrawal = Withdrawal.objects.get()
    assert response.headers["Location"] == f"/rewards/withdrawals/{withdrawal.public_id}/"
    assert (withdrawal.amount_wei, spendable_wei(consumer)) == (3 * OPEN // 2, 3 * OPEN // 2)
    page = client.get(response.headers["Location"]).content.decode()
    assert "every 3s" in page
    assert "Step 1 of 4" in page
    overview = client.get("/rewards/").content.decode()
    assert "Withdrawn to 0x111111…1111" in overview
    assert "on its way" in client.get("/rewards/withdrawals/").content.decode()


def test_the_same_form_twice_is_one_withdrawal(client: Client, consumer: User) -> None:
    client.force_login(consumer)
    once = form()
    first, second = client.post(NEW, once), client.post(NEW, once)
    assert first.headers["Location"] == second.headers["Location"]
    assert Withdrawal.objects.count() == ChainTransaction.objects.count() == 1


WRONG = [
    ({"amount": "0.5"}, "at least 1 OPEN"),
    ({"amount": "3.1"}, "You can withdraw 3 OPEN"),
    ({"amount": "-1"}, "such as 12 or 0.5"),
    ({"amount": "1e3"}, "such as 12 or 0.5"),
    ({"amount": ""}, "required"),
    ({"amount": "9" * 60}, "You can withdraw"),
    ({"address": "0x" + "9" * 40}, "Select a valid choice"),
    ({"address": ""}, "required"),
]


@pytest.mark.parametrize(("changed", "words"), WRONG)
def test_a_wrong_form_comes_back_with_what_to_do(
    client: Client, consumer: User, changed: dict[str, str], words: str
) -> None:
    client.force_login(consumer)
    response = client.post(NEW, form(**changed))
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not ChainTransaction.objects.exists()


def test_frozen_payouts_are_said(client: Client, consumer: User) -> None:
    PayoutFreeze.objects.create(reason="Looked into.")
    client.force_login(consumer)
    assert "the books are looked into" in client.get("/rewards/").content.decode()
    assert client.post(NEW, form()).status_code == 422


def test_before_deployment_nothing_is_taken(
    client: Client, consumer: User, settings: Settings, tmp_path: Path
) -> None:
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "none.json"
    client.force_login(consumer)
    assert "not deployed" in client.post(NEW, form()).content.decode()
    assert spendable_wei(consumer) == 3 * OPEN


def test_a_stranger_sees_none_of_it(client: Client, consumer: User, stranger: User) -> None:
    withdrawal = asked(consumer)
    client.force_login(stranger)
    assert client.get(f"/rewards/withdrawals/{withdrawal.public_id}/").status_code == 404
    assert client.get(f"{API}/{withdrawal.public_id}").status_code == 404
    assert client.get(API).json() == []
    assert "No withdrawal yet." in client.get("/rewards/withdrawals/").content.decode()
    other = client.post(API, {"amount_wei": str(OPEN), "address": ADDRESS})
    assert (other.status_code, other.json()["error"]["where"]) == (422, "address")


def test_wrong_methods_are_refused(client: Client, consumer: User) -> None:
    client.force_login(consumer)
    assert client.get(NEW).status_code == 405
    assert client.post("/rewards/withdrawals/").status_code == 405
    assert client.get(f"/rewards/withdrawals/{uuid4()}/").status_code == 404


def test_a_key_takes_money_out_only_with_its_own_scope(client: Client, consumer: User) -> None:
    order = {"amount_wei": str(OPEN), "address": ADDRESS.lower()}
    _, reader = create_api_key(consumer, name="books", scopes=["rewards"])
    refused = client.post(API, order, headers={"authorization": f"Bearer {reader}"})
    assert refused.status_code == 403
    _, payer = create_api_key(consumer, name="payer", scopes=["withdraw"])
    headers = {"authorization": f"Bearer {payer}", "idempotency-key": "one"}
    answers = [
        client.post(API, order, content_type="application/json", headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert Withdrawal.objects.count() == 1
    assert answers[0].json()["state"] == "waiting"
    read = client.get(API, headers={"authorization": f"Bearer {reader}"})
    assert [row["amount_wei"] for row in read.json()] == [str(OPEN)]


def test_one_that_waits_is_cancelled_on_its_page_and_in_the_list(
    client: Client, consumer: User
) -> None:
    withdrawal = asked(consumer)
    client.force_login(consumer)
    page, overview = client.get(page_of(withdrawal)), client.get("/rewards/")
    for content in (page.content.decode(), overview.content.decode()):
        assert f'id="cancel-{withdrawal.public_id}"' in content  # the dialog
        assert f'data-dialog-open="cancel-{withdrawal.public_id}"' in content
        assert "go back on your balance now" in content
        form = content.partition(f'action="{cancel_of(withdrawal)}"')[2].partition("</form>")[0]
        assert "csrfmiddlewaretoken" in form
    response = client.post(cancel_of(withdrawal), follow=True)
    assert response.redirect_chain == [(page_of(withdrawal), 302)]
    content = response.content.decode()
    assert "Cancelled: 1 OPEN are back on your balance." in content
    assert "Cancelled before it was sent" in content
    assert "every 3s" not in content
    assert "data-dialog-open" not in content
    assert spendable_wei(consumer) == 3 * OPEN
    assert "Withdrawal cancelled" in client.get("/rewards/statement.csv").getvalue().decode()


def test_the_part_that_is_fetched_again_leads_to_the_page_without_a_dialog(
    client: Client, consumer: User
) -> None:
    """The list is replaced every few seconds: a dialog in it would close under one's hands."""
    withdrawal = asked(consumer)
    client.force_login(consumer)
    content = client.get("/rewards/withdrawals/").content.decode()
    assert f'href="{page_of(withdrawal)}" data-dialog-open=' in content
    assert "<dialog" not in content


def test_what_is_signed_offers_no_cancelling_and_says_that_it_is_too_late(
    client: Client, consumer: User
) -> None:
    withdrawal = asked(consumer)
    ChainTransaction.objects.update(state="signed", nonce=1, transaction_hash="0x1", raw=b"1")
    client.force_login(consumer)
    for path in (page_of(withdrawal), "/rewards/", "/rewards/withdrawals/"):
        assert "Cancel" not in client.get(path).content.decode()
    response = client.post(cancel_of(withdrawal))
    assert response.status_code == 409
    assert "is signed and may be on chain any moment" in response.content.decode()
    assert client.get(f"{API}/{withdrawal.public_id}").json()["can_be_cancelled"] is False
    answer = client.delete(f"{API}/{withdrawal.public_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_late_to_cancel")
    assert spendable_wei(consumer) == 2 * OPEN


def test_the_same_cancelling_twice_is_one(client: Client, consumer: User) -> None:
    withdrawal = asked(consumer)
    client.force_login(consumer)
    for key in ("a", "a", "b"):
        answer = client.post(cancel_of(withdrawal), headers={"idempotency-key": key})
        assert answer.headers["Location"] == page_of(withdrawal)
    assert spendable_wei(consumer) == 3 * OPEN


def test_nobody_cancels_what_somebody_else_asked_for(
    client: Client, consumer: User, stranger: User
) -> None:
    withdrawal = asked(consumer)
    assert client.post(cancel_of(withdrawal)).status_code == 302
    assert client.delete(f"{API}/{withdrawal.public_id}").status_code == 401
    client.force_login(stranger)
    assert client.post(cancel_of(withdrawal)).status_code == 404
    assert client.delete(f"{API}/{withdrawal.public_id}").status_code == 404
    client.force_login(consumer)
    assert client.get(cancel_of(withdrawal)).status_code == 405
    assert Withdrawal.objects.get().state == "waiting"


def test_a_key_cancels_only_with_the_scope_that_takes_money_out(
    client: Client, consumer: User
) -> None:
    path = f"{API}/{asked(consumer).public_id}"
    _, reader = create_api_key(consumer, name="books", scopes=["rewards"])
    _, payer = create_api_key(consumer, name="payer", scopes=["withdraw"])
    assert client.delete(path, headers={"authorization": f"Bearer {reader}"}).status_code == 403
    answers = [client.delete(path, headers={"authorization": f"Bearer {payer}"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["state"] == "cancelled"
    read = client.get(path, headers={"authorization": f"Bearer {reader}"}).json()
    assert (read["state"], read["can_be_cancelled"]) == ("cancelled", False)


BAD_ORDERS = [
    ({"address": ADDRESS}, "amount_wei"),
    ({"amount_wei": "1.5", "address": ADDRESS}, "amount_wei"),
    ({"amount_wei": "9" * 78, "address": ADDRESS}, "amount_wei"),
    ({"amount_wei": str(OPEN)}, "address"),
    ({"amount_wei": str(OPEN), "address": "0x" + "1" * 41}, "address"),
    ({"amount_wei": "1", "address": ADDRESS}, "amount"),
]


@pytest.mark.parametrize(("order", "where"), BAD_ORDERS)
def test_a_bad_order_names_what_is_wrong(
    client: Client, consumer: User, order: dict[str, str], where: str
) -> None:
    client.force_login(consumer)
    answer = client.post(API, order, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["where"]) == (422, where)
    assert not Withdrawal.objects.exists()


def test_the_number_of_queries_does_not_grow(
    client: Client,
    consumer: User,
    settings: Settings,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    settings.WITHDRAWALS_PER_DAY = 9
    for _ in range(3):
        asked(consumer)
    client.force_login(consumer)
    with django_assert_max_num_queries(16):
        client.get("/rewards/")
