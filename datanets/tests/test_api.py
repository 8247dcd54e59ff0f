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


def test_the_same_post_under_one_key_has_one_effect(with_key, owner, contributor, datanet):
    client, header = with_key(contributor), {"idempotency-key": "k-1"}
    answers = []
    for _ in range(2):
        file = SimpleUploadedFile("rows.jsonl", jsonl(ROWS))
        form = {**TERMS, "file": file}
        answers.append(client.post(contributions_of(datanet), form, headers=header))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert Contribution.objects.count() == 1


def test_two_api_keys_never_share_an_idempotency_key(with_key, owner, contributor):
    header = {"idempotency-key": "k-1"}
    made = [with_key(user).post(DATANETS, FORM, headers=header) for user in (owner, contributor)]
    assert made[0].json()["id"] != made[1].json()["id"]


def test_another_request_under_the_same_key_is_refused_as_json(with_key, owner):
    client, header = with_key(owner), {"idempotency-key": "k-1"}
    client.post(DATANETS, FORM, headers=header)
    again = client.post(DATANETS, FORM | {"name": "Other"}, headers=header)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_personal_data_is_decided_about_by_key(with_key, datanet, contributor, stranger):
    rows = [{"question": "Who helps?", "answer": "Write to jane.doe@acme.com."}]
    file = SimpleUploadedFile("rows.jsonl", jsonl(rows))
    given = with_key(contributor).post(contributions_of(datanet), {**TERMS, "file": file})
    assert (given.status_code, given.json()["state"]) == (202, "needs_decision")
    assert given.json()["report"]["checks"]["personal_data"] == {"EMAIL_ADDRESS": 1}
    url = reverse("datanets:api-contribution-decision", args=[given.json()["id"]])
    as_json = {"content_type": "application/json"}
    body = {"kinds": {"EMAIL_ADDRESS": {"action": "redact"}}}
    assert with_key(stranger).post(url, body, **as_json).status_code == 404
    assert with_key(contributor).post(url, {}, **as_json).status_code == 422
    assert with_key(contributor).post(url, {"kinds": [1]}, **as_json).status_code == 422
    assert with_key(contributor).post(url, body, **as_json).json()["state"] == "in_review"
    assert datanet.records.get().response == "Write to [EMAIL]."
