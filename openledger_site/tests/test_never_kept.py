"""What somebody with a session saw stays in no browser's or proxy's store."""

from __future__ import annotations

import pytest
from django.test import Client

from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db
KEPT_BY_NOBODY = "private, no-store"


@pytest.fixture
def signed_in(client: Client) -> Client:
    user = User.objects.create_user(email="nora@example.org", password="a long one, for once")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize("path", ["/", "/datanets/", "/accounts/profile/", "/no/such/page/"])
def test_pages_of_who_is_signed_in_are_kept_by_nobody(signed_in: Client, path: str) -> None:
    assert signed_in.get(path)["Cache-Control"] == KEPT_BY_NOBODY


def test_signing_out_clears_what_was_kept_to_go_back_to(signed_in: Client) -> None:
    """The answer to a form that was filled in wrongly, say."""
    answered = signed_in.post("/datanets/new/", {"name": ""})
    assert (answered.status_code, answered["Cache-Control"]) == (422, "private, no-cache")
    assert "Clear-Site-Data" not in answered
    assert signed_in.post("/accounts/logout/")["Clear-Site-Data"] == '"cache"'


def test_public_pages_of_strangers_may_be_kept(client: Client) -> None:
    assert "no-store" not in client.get("/datanets/").headers.get("Cache-Control", "")
