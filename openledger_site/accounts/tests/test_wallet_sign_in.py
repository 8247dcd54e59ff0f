"""Signing in and linking by wallet, through the endpoints a page calls."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from eth_account import Account
from eth_account.messages import encode_defunct

from openledger_site.accounts.models import SignInNonce, User, Wallet

ALICE = Account.from_key("0x" + "a1" * 32)
MALLORY = Account.from_key("0x" + "66" * 32)
pytestmark = pytest.mark.django_db


def challenge(client, wallet=ALICE, purpose="sign-in", chain_id=31337):
    return client.post(
        reverse("accounts:wallet-nonce"),
        {"address": wallet.address, "chain_id": chain_id, "purpose": purpose},
        headers={"accept": "application/json"},
    )


def answer(client, text, wallet=ALICE, purpose="sign-in", **extra):
    signature = wallet.sign_message(encode_defunct(text=text)).signature.to_0x_hex()
    return client.post(
        reverse("accounts:wallet-verify"),
        {"message": text, "signature": signature, "purpose": purpose, **extra},
        headers={"accept": "application/json"},
    )


def sign_in(client, wallet=ALICE, **extra):
    return answer(client, challenge(client, wallet).json()["message"], wallet, **extra)


def test_a_new_wallet_gets_an_account(client):
    assert sign_in(client).status_code == 200
    assert Wallet.objects.get().address == ALICE.address
    assert client.session["_auth_user_id"] == str(User.objects.get().pk)


def test_a_known_wallet_comes_back_to_its_account(client):
    sign_in(client)
    sign_in(Client())
    assert User.objects.count() == 1


def test_signing_in_changes_the_session_key(client):
    text = challenge(client).json()["message"]
    before = client.session.session_key
    answer(client, text)
    assert client.session.session_key != before


def test_a_message_works_once(client):
    text = challenge(client).json()["message"]
    assert answer(client, text).status_code == 200
    replay = answer(client, text)
    assert (replay.status_code, replay.json()["error"]["code"]) == (403, "nonce_refused")


def test_a_message_made_for_another_browser_is_refused(client):
    text = challenge(client).json()["message"]
    other = Client()
    challenge(other)
    assert answer(other, text).json()["error"]["code"] == "nonce_refused"


def test_a_signature_by_another_wallet_is_refused(client):
    text = challenge(client).json()["message"]
    assert answer(client, text, MALLORY).json()["error"]["code"] == "wrong_signer"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("127.0.0.1:8000 wants", "evil.example wants", "wrong_domain"),
        ("URI: http://127.0.0.1:8000", "URI: http://evil.example", "wrong_uri"),
        ("Chain ID: 31337", "Chain ID: 1", "wrong_chain_id"),
        ("Sign in to OpenLedger.", "Send all my OPEN.", "wrong_statement"),
        ("Issued At: 20", "Issued At: 19", "wrong_issued_at"),
        ("Expiration Time: 20", "Expiration Time: 19", "wrong_expiration_time"),
        ("Version: 1", "Version: 2", "malformed_message"),
    ],
)
def test_a_message_we_did_not_issue_is_refused(client, old, new, code):
    text = challenge(client).json()["message"]
    assert old in text
    assert answer(client, text.replace(old, new)).json()["error"]["code"] == code


def test_an_expired_nonce_is_refused(client):
    text = challenge(client).json()["message"]
    SignInNonce.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert answer(client, text).json()["error"]["code"] == "nonce_refused"


def test_a_sign_in_message_cannot_link_a_wallet(client, stranger):
    client.force_login(stranger)
    text = challenge(client).json()["message"]
    assert answer(client, text, purpose="link").json()["error"]["code"] == "wrong_statement"


def test_a_wallet_is_linked_to_the_signed_in_person(client, consumer):
    client.force_login(consumer)
    text = challenge(client, purpose="link").json()["message"]
    assert answer(client, text, purpose="link").status_code == 200
    assert Wallet.objects.get(address=ALICE.address).user == consumer


def test_a_wallet_of_somebody_else_cannot_be_linked(client, consumer):
    sign_in(Client())
    client.force_login(consumer)
    text = challenge(client, purpose="link").json()["message"]
    assert answer(client, text, purpose="link").json()["error"]["code"] == "wallet_taken"


def test_linking_needs_a_signed_in_person(client):
    text = challenge(client, purpose="link").json()["message"]
    assert answer(client, text, purpose="link").json()["error"]["code"] == "sign_in_first"


def test_another_chain_is_named_in_the_refusal(client):
    refused = challenge(client, chain_id=1)
    assert (refused.status_code, refused.json()["error"]["where"]) == (403, "chain_id")


def test_unfinished_sign_ins_are_limited(client):
    codes = [challenge(client).status_code for _ in range(21)]
    assert codes == [200] * 20 + [429]


def test_next_never_leaves_the_site(client):
    assert sign_in(client, next="https://evil.example/").json()["redirect"] == "/"


def test_the_only_way_in_cannot_be_unlinked(client):
    sign_in(client)
    wallet = Wallet.objects.get()
    refused = client.post(reverse("accounts:wallet-unlink", args=[wallet.pk]))
    assert refused.status_code == 409


def test_a_password_without_an_address_is_no_other_way_in(client):
    """Signing in by password asks for the address."""
    sign_in(client)
    user = User.objects.get()
    user.set_password("a long one, for once")
    user.save()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    wallet = Wallet.objects.get()
    refused = client.post(reverse("accounts:wallet-unlink", args=[wallet.pk]))
    assert refused.status_code == 409
    User.objects.update(email="nora@example.org")
    assert client.post(reverse("accounts:wallet-unlink", args=[wallet.pk])).status_code == 302


def test_a_stranger_cannot_unlink_a_wallet(client, stranger):
    sign_in(Client())
    client.force_login(stranger)
    wallet = Wallet.objects.get()
    assert client.post(reverse("accounts:wallet-unlink", args=[wallet.pk])).status_code == 404
