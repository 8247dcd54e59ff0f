"""The JSON API, by session and by key."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from datanets.models import Contribution, Datanet
from datanets.tests.conftest import ROWS, approve_all, jsonl
from openledger_site.accounts.services import create_api_key

pytestmark = pytest.mark.django_db

DATANETS = reverse("datanets:api-datanet-list")
FORM = {"name": "Signals", "description": "What signals mean.", "visibility": "public"}
FORM |= {"licence": "CC0-1.0"}
TERMS = {"licence": "PSF-2.0", "agree": "true"}


@pytest.fixture
def with_key():
    def make(user, scope: str = "data") -> Client:
        _, secret = create_api_key(user, name="test", scopes=[scope])
        return Client(headers={"authorization": f"Bearer {secret}"})

    return make


def contributions_of(datanet) -> str:
    return reverse("datanets:api-contribution-list", args=[datanet.slug])


def test_the_whole_way_goes_by_key(with_key, owner, contributor):
    made = with_key(owner).post(DATANETS, FORM).json()
    datanet = Datanet.objects.get(public_id=made["id"])
    file = SimpleUploadedFile("rows.jsonl", jsonl(ROWS))
    given = with_key(contributor).post(contributions_of(datanet), {**TERMS, "file": file})
    assert given.status_code == 201
    assert given.json()["rows_accepted"] == 3
    approve_all(datanet, owner)
    versions = reverse("datanets:api-version-list", args=[datanet.slug])
    version = with_key(owner).post(versions, {"note": "First"}).json()
    assert version["record_count"] == 3
    assert version["anchor"]


def test_the_status_of_a_contribution_can_be_asked(with_key, pending, contributor, stranger):
    url = reverse("datanets:api-contribution-detail", args=[pending.public_id])
    assert with_key(contributor).get(url).json()["state"] == "in_review"
    assert with_key(stranger).get(url).status_code == 404


def test_a_key_without_the_scope_is_refused(with_key, owner):
    answer = with_key(owner, "inference").get(DATANETS)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"]


def test_nobody_comes_in_without_signing_in(client, datanet):
    assert client.get(DATANETS).status_code == 401
    assert client.post(contributions_of(datanet), TERMS).status_code == 401


def test_a_bad_body_names_its_field(with_key, owner):
    answer = with_key(owner).post(DATANETS, {**FORM, "name": ""})
    assert answer.status_code == 422
    assert answer.json()["error"]["where"] == "name"


def test_a_bad_file_has_the_envelope_of_the_pages(with_key, datanet, contributor):
    file = SimpleUploadedFile("rows.jsonl", b'{"question": "\xff"}\n')
    answer = with_key(contributor).post(contributions_of(datanet), {**TERMS, "file": file})
    assert answer.status_code == 422
    assert "line 1" in answer.json()["error"]["where"]
    assert not Contribution.objects.exists()


def test_strangers_find_no_private_datanet(with_key, private, stranger):
    assert with_key(stranger).get(DATANETS).json() == []
    assert with_key(stranger).post(contributions_of(private), TERMS).status_code == 404
    item = reverse("datanets:api-datanet-detail", args=[private.slug])
    assert with_key(stranger).get(item).status_code == 404


def test_a_body_that_is_no_object_is_refused(with_key, owner):
    answer = with_key(owner).post(DATANETS, [1, 2], content_type="application/json")
    assert answer.status_code == 422
