"""The doors of gas paid in OPEN, as a page's wallet uses them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse
from eth_account.signers.local import LocalAccount
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from rewards.models import Relay
from rewards.tests.conftest import OPEN, Wallets, signed_in
from rewards.tests.relaying import poor_wallet, until_final

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
QUOTE, ORDER = reverse("rewards:relay-quote"), reverse("rewards:relay-order")
JSON = {"headers": {"accept": "application/json"}}


def signed(key: LocalAccount, message: dict[str, Any]) -> str:
    """As a wallet: numbers come as text."""
    (kind,) = message["types"]
    kinds = {field["name"]: field["type"] for field in message["types"][kind]}
    values = {
        name: int(value) if kinds[name].startswith("uint") else
        bytes.fromhex(value[2:]) if kinds[name] == "bytes32" else value
        for name, value in message["message"].items()
    }  # fmt: skip
    found = key.sign_typed_data(message["domain"], message["types"], values)
    return "0x" + found.signature.hex().removeprefix("0x")


def test_a_deposit_by_a_signature_alone(wallets: Wallets, consumer: User, stranger: User) -> None:
    key, browser = poor_wallet(wallets, consumer, 20 * OPEN), signed_in(consumer)
    page = browser.get(reverse("rewards:overview")).content.decode()
    assert f'data-relay-url="{ORDER}"' in page
    asked = {"action": "deposit", "account": key.address.lower(), "amount": "12"}
    quote = browser.post(QUOTE, asked, **JSON).json()
    assert quote["fee"].startswith("0.")
    assert "comes out of this deposit" in quote["words"]
    assert quote["fee_full"].startswith("At most 0.")
    order = {"quote": quote["quote"], "signature": signed(key, quote["message"])}
    answer = browser.post(ORDER, order, **JSON)
    assert answer.status_code == 201
    state_url = answer.json()["state_url"]
    assert browser.get(state_url).json()["state"] == "pending"
    until_final(wallets)
    now = browser.get(state_url).json()
    assert now["state"] == "done"
    assert now["words"] == f"Done. The network fee was {now['fee']} OPEN."
    credits = reverse("rewards:deposit-state")
    assert b"data-live-done" in browser.get(credits, {"transaction": now["transaction"]}).content
    assert "Network fee of a deposit" in browser.get(reverse("rewards:overview")).content.decode()
    assert signed_in(stranger).get(state_url).status_code == 404
    assert browser.post(ORDER, order, **JSON).json()["state_url"] == state_url
    assert Relay.objects.count() == 1


BAD: list[tuple[dict[str, str], str]] = [
    ({"action": "deposit", "account": ""}, "account"),
    ({"action": "deposit", "amount": "many"}, "amount"),
    ({"action": "deposit", "amount": "0"}, "amount"),
    ({"action": "deposit", "amount_wei": "-1"}, "amount"),
    ({"action": "stake", "amount": "1", "target": "0xZZ"}, "target"),
    ({"action": "delegate", "delegatee": "0x12"}, "delegatee"),
    ({"action": "vote", "proposal": "one", "support": "1"}, "proposal"),
    ({"action": "vote", "proposal": "1", "support": "7"}, "support"),
    ({"action": "claim"}, "account"),
    ({"action": "withdraw"}, "action"),
]


def test_bad_input_is_refused_by_name(wallets: Wallets, consumer: User) -> None:
    key, browser = poor_wallet(wallets, consumer, 0), signed_in(consumer)
    for asked, where in BAD:
        answer = browser.post(QUOTE, {"account": key.address} | asked, **JSON)
        assert answer.status_code == 422, asked
        error = json.loads(answer.content)["error"]
        assert error["where"] == where, error
        assert error["message"]


def test_switched_off_no_page_offers_it(
    wallets: Wallets, consumer: User, settings: Settings
) -> None:
    settings.RELAY_ENABLED = False
    page = signed_in(consumer).get(reverse("rewards:overview")).content.decode()
    assert "data-relay" not in page
    answer = signed_in(consumer).post(QUOTE, {"action": "deposit", "account": "0x1"}, **JSON)
    assert answer.status_code == 503
    assert "in OPEN at the moment" in answer.json()["error"]["message"]


def test_staff_see_the_books_of_it(wallets: Wallets, make_user: Any) -> None:
    staff = make_user("Stella", is_staff=True, is_superuser=True)
    page = signed_in(staff).get(reverse("admin:rewards_relay_changelist")).content.decode()
    assert "0 OPEN earned" in page
    assert "0 wei over" in page
