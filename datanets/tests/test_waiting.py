"""The part of the front page that says what waits for a person in Datanets."""

from __future__ import annotations

import pytest
from django.urls import reverse

pytestmark = pytest.mark.django_db
WAITING = reverse("datanets:waiting")


def test_a_reviewer_sees_how_many_rows_wait_and_the_contributor_none(
    as_user, pending, curator, contributor
):
    assert "3 rows to review" in as_user(curator).get(WAITING).text
    assert "rows to review" not in as_user(contributor).get(WAITING).text
    assert "My contributions" in as_user(contributor).get(WAITING).text


def test_a_file_that_waits_for_its_contributor_is_named_to_nobody_else(
    as_user, datanet, contributor, curator, give
):
    waiting = give(datanet, contributor, b"ask,tell\nWhy?,So.\nHow?,Thus.\n", "rows.csv")
    assert waiting.get_absolute_url() in as_user(contributor).get(WAITING).text
    assert waiting.get_absolute_url() not in as_user(curator).get(WAITING).text


def test_who_never_gave_anything_is_shown_where_to_begin(as_user, stranger):
    assert "Find a Datanet to give to" in as_user(stranger).get(WAITING).text


def test_the_front_page_of_who_is_signed_in_leads_there(as_user, client, stranger):
    assert WAITING in as_user(stranger).get("/").text
    assert "Own what you teach a machine." in client.get("/").text
