"""Cutting a version by page, its downloads, and a record's permalink."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.urls import reverse

from datanets.inclusion import check_inclusion
from datanets.models import Datanet, Version
from datanets.tests.conftest import approve_all

pytestmark = pytest.mark.django_db


def cut(datanet) -> str:
    return reverse("datanets:version-create", args=[datanet.slug])


def test_a_curator_cuts_a_version_once_for_one_press(as_user, pending, curator):
    approve_all(pending.datanet, curator)
    form = {"note": "The first", "idempotency_key": "once"}
    for _ in range(2):
        answer = as_user(curator).post(cut(pending.datanet), form)
    version = Version.objects.get()
    assert answer["Location"] == version.get_absolute_url()
    assert version.note == "The first"


def test_those_who_do_not_review_cut_nothing(as_user, version, contributor):
    assert as_user(contributor).post(cut(version.datanet)).status_code == 404


def test_nothing_approved_is_said_in_words(as_user, datanet, owner):
    answer = as_user(owner).post(cut(datanet))
    assert answer.status_code == 422
    assert b"at least one approved row" in answer.content


def test_the_page_shows_root_anchor_and_rows_to_anybody(client, version):
    page = client.get(version.get_absolute_url()).content
    assert version.merkle_root.encode() in page
    assert b"Queued" in page
    assert b"What does KeyError mean?" in page
    assert b"The first" in page


def test_the_page_costs_the_same_for_any_number_of_rows(client, version, measured):
    assert measured(client, version.get_absolute_url()) <= 7


def test_the_manifest_is_downloaded(client, version):
    answer = client.get(reverse("datanets:version-manifest", args=[version.public_id]))
    manifest = json.loads(b"".join(answer.streaming_content))
    assert manifest["merkle_root"] == version.merkle_root
    assert "attachment" in answer["Content-Disposition"]


def test_a_downloaded_proof_holds(client, version):
    record = version.entries.first().record
    url = reverse("datanets:version-proof", args=[version.public_id, record.public_id])
    assert check_inclusion(client.get(url).json()) == []


def test_a_row_has_a_page_of_its_own(client, version):
    record = version.entries.first().record
    page = client.get(record.get_absolute_url()).content
    assert record.instruction.encode() in page
    assert b"Version 1" in page
    assert b"Carla" in page


def test_a_row_that_waits_is_seen_by_its_owner_only(as_user, client, pending, contributor):
    url = pending.records.first().get_absolute_url()
    assert client.get(url).status_code == 404
    assert as_user(contributor).get(url).status_code == 200


def test_a_stranger_gets_404_for_everything_of_a_private_version(as_user, version, stranger):
    Datanet.objects.update(visibility="private")
    record = version.entries.first().record
    for name, arguments in (
        ("version-detail", [version.public_id]),
        ("version-manifest", [version.public_id]),
        ("version-proof", [version.public_id, record.public_id]),
        ("record-detail", [record.public_id]),
        ("api-version-list", [version.datanet.slug]),
    ):
        address = reverse(f"datanets:{name}", args=arguments)
        assert as_user(stranger).get(address).status_code == 404, name


def test_a_missing_id_is_404(client):
    assert client.get(reverse("datanets:version-detail", args=[uuid4()])).status_code == 404
    assert client.get(reverse("datanets:record-detail", args=[uuid4()])).status_code == 404


def test_the_footer_names_the_version_of_the_site_and_not_of_the_data(client, version):
    footer = client.get(version.get_absolute_url()).content.decode().partition("<footer")[2]
    assert "version 1" not in footer
