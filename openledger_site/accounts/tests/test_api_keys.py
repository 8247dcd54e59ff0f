"""API keys: shown once, stored as a hash, stopped at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from openledger_site.accounts.models import ApiKey
from openledger_site.accounts.services import (
    authenticate_api_key,
    create_api_key,
    revoke_api_key,
)

pytestmark = pytest.mark.django_db


def test_a_key_authenticates_its_owner(consumer):
    key, secret = create_api_key(consumer, name="agent", scopes=["inference"])
    assert authenticate_api_key(secret) == key


def test_the_secret_is_not_stored(consumer):
    key, secret = create_api_key(consumer, name="agent", scopes=["inference"])
    stored = " ".join(str(value) for value in ApiKey.objects.values().get(pk=key.pk).values())
    assert secret.rpartition("_")[2] not in stored


@pytest.mark.parametrize(
    "change", [lambda s: s + "0", lambda s: s[:-1], lambda s: "", lambda s: "ol_live_"]
)
def test_a_secret_that_differs_is_refused(consumer, change):
    _, secret = create_api_key(consumer, name="agent", scopes=[])
    assert authenticate_api_key(change(secret)) is None


def test_a_revoked_key_stops_at_once(consumer):
    key, secret = create_api_key(consumer, name="agent", scopes=[])
    revoke_api_key(key, actor=consumer)
    assert authenticate_api_key(secret) is None


def test_an_expired_key_is_refused(consumer):
    _, secret = create_api_key(
        consumer, name="agent", scopes=[], expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert authenticate_api_key(secret) is None


def test_a_key_of_a_closed_account_is_refused(consumer):
    _, secret = create_api_key(consumer, name="agent", scopes=[])
    consumer.is_active = False
    consumer.save()
    assert authenticate_api_key(secret) is None


def test_unknown_scopes_are_dropped(consumer):
    key, _ = create_api_key(consumer, name="agent", scopes=["inference", "root"])
    assert key.scopes == ["inference"]


def test_the_page_shows_a_new_key_once(client, consumer):
    client.force_login(consumer)
    url = reverse("accounts:api-keys")
    made = client.post(url, {"name": "laptop", "scopes": ["inference"], "lifetime_days": 30})
    prefix = ApiKey.objects.get().prefix
    assert f"{prefix}_" in made.text
    assert authenticate_api_key(made.context["secret"])
    assert made.context["secret"] not in client.get(url).text
    assert made.text.count("Ask models and pay for the answers") == 2  # the choice, and the key's


def test_a_key_without_a_name_is_asked_for_one(client, consumer):
    client.force_login(consumer)
    assert client.post(reverse("accounts:api-keys"), {"scopes": ["inference"]}).status_code == 422


def test_a_stranger_cannot_revoke_a_key(client, consumer, stranger):
    key, secret = create_api_key(consumer, name="agent", scopes=[])
    client.force_login(stranger)
    url = reverse("accounts:api-key-revoke", args=[key.public_id])
    assert client.post(url).status_code == 404
    assert authenticate_api_key(secret)


def test_an_anonymous_visitor_is_sent_to_sign_in(client):
    assert client.get(reverse("accounts:api-keys")).status_code == 302
