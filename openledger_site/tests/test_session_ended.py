"""Whoever is signed out in another tab is asked to sign in, in a form that the page can follow."""

from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db
PAGE = "/rewards/"


def test_a_page_is_followed_by_the_sign_in_and_back(client: Client) -> None:
    assert client.get(PAGE)["Location"] == f"/accounts/login/?next={PAGE}"


def test_a_part_of_a_page_sends_the_whole_page_to_the_sign_in(client: Client) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/rewards/?page=2"}
    answer = client.get("/rewards/withdrawals/", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["HX-Redirect"] == "/accounts/login/?next=%2Frewards%2F%3Fpage%3D2"


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_script_is_told_in_json(client: Client, accept: str) -> None:
    answer = client.post("/datanets/new/", headers={"accept": accept})
    assert answer.status_code == 401
    assert "sign in" in answer.json()["error"]["message"]


def test_a_form_leads_back_to_the_page_that_it_stood_on(client: Client) -> None:
    answer = client.post(
        "/factory/runs/start/",
        headers={"referer": "https://elsewhere.example/factory/runs/new/?a=1"},
    )
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=%2Ffactory%2Fruns%2Fnew%2F%3Fa%3D1"


def test_nobody_makes_sessions_without_end(client: Client, settings: object) -> None:
    """A message to sign makes a session where there is none: so many a minute from one address."""
    given = {"address": "0x" + "1" * 40, "chain_id": "31337"}
    answers = [Client().post("/accounts/wallet/nonce/", given).status_code for _ in range(62)]
    assert answers[0] == 200
    assert answers[-1] == 429
