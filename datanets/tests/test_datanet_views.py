"""The list, the form, a Datanet's page, members and access."""

from __future__ import annotations

import pytest
from django.urls import reverse

from datanets.models import Datanet
from datanets.services import cut_version
from datanets.tests.conftest import approve_all, make_datanet

pytestmark = pytest.mark.django_db

LIST = reverse("datanets:datanet-list")
FORM = {"name": "Signals", "description": "What signals mean.", "visibility": "public"}
FORM |= {"licence": "CC0-1.0", "guidelines": ""}


def url(name: str, datanet: Datanet, *more: object) -> str:
    return reverse(f"datanets:{name}", args=[datanet.slug, *more])


def test_anybody_sees_public_datanets_and_no_private_one(client, datanet, private):
    page = client.get(LIST)
    assert b"Python errors" in page.content
    assert b"Private errors" not in page.content


def test_the_list_can_be_searched_and_says_what_to_do_when_empty(client, datanet):
    assert b"Python errors" in client.get(LIST, {"search": "python"}).content
    assert b"Nothing matches" in client.get(LIST, {"search": "knitting"}).content


def test_the_list_costs_the_same_for_any_number(client, owner, django_assert_num_queries):
    for number in range(12):
        make_datanet(owner, f"Topic {number}", "public")
    with django_assert_num_queries(2):
        client.get(LIST)


def test_the_list_counts_few_rows_and_says_about_how_many_there_are_beyond(
    client, datanet, pending, owner, monkeypatch
):
    approve_all(datanet, owner)
    assert b"3 rows \xc2\xb7" in client.get(LIST).content
    for module in ("datanets.selectors", "datanets.selectors.access"):
        monkeypatch.setattr(f"{module}.COUNTED_MAX", 2)
    assert b"2 rows or more \xc2\xb7" in client.get(LIST).content
    cut_version(datanet=datanet, actor=owner)
    assert b"about 3 rows \xc2\xb7 1 version" in client.get(LIST).content


def test_the_page_counts_few_waiting_rows(as_user, datanet, pending, owner, monkeypatch):
    page = url("datanet-detail", datanet)
    assert b"Review 3 <kbd>" in as_user(owner).get(page).content
    monkeypatch.setattr("datanets.selectors.counts.COUNTED_MAX", 2)
    assert b"Review 2 or more <kbd>" in as_user(owner).get(page).content


def test_a_datanet_is_made_by_its_form(as_user, owner):
    answer = as_user(owner).post(reverse("datanets:datanet-create"), FORM)
    made = Datanet.objects.get(name="Signals")
    assert answer.status_code == 302
    assert answer.url == made.get_absolute_url()
    assert made.memberships.get().role == "owner"


def test_a_wrong_form_makes_nothing_and_says_so(as_user, owner):
    answer = as_user(owner).post(reverse("datanets:datanet-create"), {**FORM, "name": ""})
    assert answer.status_code == 422
    assert not Datanet.objects.exists()
    assert b"This field is required" in answer.content


def test_the_same_form_sent_twice_makes_one(as_user, owner):
    form = {**FORM, "idempotency_key": "once"}
    for _ in range(2):
        as_user(owner).post(reverse("datanets:datanet-create"), form)
    assert Datanet.objects.count() == 1


def test_two_datanets_of_one_name_have_two_addresses(owner):
    first, second = make_datanet(owner, "New", "public"), make_datanet(owner, "New", "public")
    assert first.slug != second.slug
    assert "new" not in {first.slug, second.slug}


def test_no_address_tells_that_there_is_a_private_datanet_of_that_name(as_user, owner, stranger):
    make_datanet(owner, "Smith v Jones", "private")
    form = {**FORM, "name": "Smith v Jones"}
    answer = as_user(stranger).post(reverse("datanets:datanet-create"), form)
    assert answer.url == "/datanets/smith-v-jones/"


def test_the_page_shows_rows_versions_and_contributors(client, version):
    page = client.get(version.datanet.get_absolute_url()).content
    assert b"What does KeyError mean?" in page
    assert b"Version 1" in page
    assert b"Carla" in page


def test_a_restricted_datanet_shows_its_card_and_no_row(client, version):
    Datanet.objects.update(visibility="restricted")
    page = client.get(version.datanet.get_absolute_url()).content
    assert b"Rows are not public" in page
    assert b"KeyError" not in page
    shown = client.get(version.get_absolute_url()).content
    assert b"KeyError" not in shown


def test_the_page_costs_the_same_for_any_number_of_rows(as_user, version, curator, measured):
    few = measured(as_user(curator), version.datanet.get_absolute_url())
    assert few <= 18


@pytest.mark.parametrize("name", ["datanet-detail", "contribution-create", "review-queue"])
def test_a_stranger_gets_404_for_a_private_datanet(as_user, private, stranger, name):
    assert as_user(stranger).get(url(name, private)).status_code == 404


@pytest.mark.parametrize(
    "name", ["contribution-create", "version-create", "access-request", "review-all"]
)
def test_a_stranger_posts_nothing_to_a_private_datanet(as_user, private, stranger, name):
    assert as_user(stranger).post(url(name, private), FORM).status_code == 404


@pytest.mark.parametrize("name", ["datanet-create", "contribution-list"])
def test_the_anonymous_are_asked_to_sign_in(client, name):
    answer = client.get(reverse(f"datanets:{name}"))
    assert answer.status_code == 302
    assert "login" in answer.url


@pytest.mark.parametrize("name", ["version-create", "review-all"])
def test_writes_refuse_get(as_user, datanet, owner, name):
    assert as_user(owner).get(url(name, datanet)).status_code == 405
