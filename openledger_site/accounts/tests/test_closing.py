"""Closing an account: nothing names the person any more, and nobody gets in."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse

from openledger_site.accounts.closing import (
    AccountInUse,
    Hint,
    Part,
    _parts,
    close_account,
    register_part,
)
from openledger_site.accounts.models import ApiKey, User, Wallet
from openledger_site.accounts.services import authenticate_api_key, create_api_key
from openledger_site.accounts.tests.test_wallet_sign_in import ALICE, answer, challenge, sign_in
from openledger_site.core.models import AuditEntry

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse 7 battery"  # conftest's people have it


@pytest.fixture
def person(consumer: User) -> User:
    EmailAddress.objects.create(user=consumer, email=str(consumer.email), primary=True)
    return consumer


@pytest.fixture
def browser(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def close(client: Client, **changed: str) -> Any:
    form = {"rows": "withdraw", "proof": PASSWORD} | changed
    return client.post(reverse("accounts:close"), form)


def test_name_address_and_ways_in_are_gone(browser: Client, person: User) -> None:
    email, name = str(person.email), person.name
    _, secret = create_api_key(person, name="laptop", scopes=["inference"])
    Wallet.objects.create(user=person, address=ALICE.address, chain_id=31337)
    elsewhere = Client()
    elsewhere.force_login(person)
    assert close(browser)["Location"] == "/"
    person.refresh_from_db()
    assert (person.email, person.display_name, person.is_active) == (None, "", False)
    assert name not in person.name
    assert not EmailAddress.objects.exists()
    assert not person.has_usable_password()
    assert authenticate_api_key(secret) is None
    assert not ApiKey.objects.filter(revoked_at=None).exists()
    assert not Wallet.objects.filter(unlinked_at=None).exists()
    assert elsewhere.get(reverse("accounts:profile")).status_code == 302  # signed out there too
    said = sign_in(Client())
    assert (said.status_code, said.json()["error"]["code"]) == (403, "wallet_closed")
    assert AuditEntry.objects.get(action="account.closed").subject == f"user:{person.public_id}"
    assert User.objects.create_user(email).pk != person.pk  # the address is free again


@pytest.mark.parametrize("given", ["", "wrong", "close my account"])
def test_an_open_browser_is_not_enough(browser: Client, person: User, given: str) -> None:
    assert close(browser, proof=given).status_code == 422
    person.refresh_from_db()
    assert person.is_active


def test_a_password_cannot_be_guessed_here(browser: Client, person: User) -> None:
    codes = [close(browser, proof=f"guess {number}").status_code for number in range(11)]
    assert codes == [422] * 10 + [429]
    assert close(browser).status_code == 429
    person.refresh_from_db()
    assert person.is_active


def test_who_has_no_password_types_the_words(client: Client) -> None:
    sign_in(client)
    assert close(client, proof="Close it").status_code == 422
    assert close(client, proof="Close my account").status_code == 302
    assert not User.objects.get().is_active


def test_a_closed_wallet_cannot_be_linked_to_another_account(
    client: Client, stranger: User
) -> None:
    sign_in(client)
    close(client, proof="close my account")
    other = Client()
    other.force_login(stranger)
    text = challenge(other, purpose="link").json()["message"]
    assert answer(other, text, purpose="link").status_code == 409


def test_what_stands_in_the_way_is_said_and_nothing_is_closed(
    browser: Client, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_parts, "tests", _parts["rewards"])  # put back afterwards
    left: list[User] = []
    register_part(
        "tests",
        Part(
            lambda user: [Hint("Feed the cat.", "/cat/")],
            lambda user: [Hint("The cat.")],
            lambda user, rows: left.append(user),
        ),
    )
    page = browser.get(reverse("accounts:close")).content.decode()
    assert "Feed the cat." in page
    assert 'href="/cat/"' in page
    assert "The cat." in page
    assert "for good</button>" not in page
    with pytest.raises(AccountInUse, match="Feed the cat"):
        close_account(user=person, withdraw_rows=True)
    refused = close(browser)
    assert refused.status_code == 422
    person.refresh_from_db()
    assert person.is_active
    assert not left
