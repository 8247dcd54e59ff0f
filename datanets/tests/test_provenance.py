"""Where rows come from: asked, remembered, kept, shown, summed up and handed out."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.urls import reverse

from datanets.models import Contribution, Record
from datanets.provenance import summary_for_machines
from datanets.selectors import counts_of_version
from datanets.services import cut_version, withdraw_contribution
from datanets.tests.conftest import ROWS, approve_all, jsonl
from openledger_site.core.errors import DomainError
from openledger_site.core.storage import blob_path

pytestmark = pytest.mark.django_db

SYNTHETIC = {"source": "own", "method": "synthetic", "made_by": "Small model 2"}
PUBLISHED = {
    "source": "published",
    "source_name": "Handbook of errors",
    "method": "extracted",
    "origin": "Austria",
    "made_from": "2025-01-01",
    "made_to": "2025-06-30",
    "consent": "given",
    "consent_evidence": "Forms of 2025",
    "privacy_means": "Names removed",
}


def page_of(datanet) -> str:
    return reverse("datanets:contribution-create", args=[datanet.slug])


def form(**answers: str) -> dict[str, object]:
    file = SimpleUploadedFile("rows.jsonl", jsonl(ROWS))
    return {"licence": "PSF-2.0", "agree": "on", "file": file, **answers}


def test_the_answers_are_kept_and_shown_to_reviewers(as_user, datanet, contributor, curator):
    as_user(contributor).post(page_of(datanet), form(**PUBLISHED))
    contribution = Contribution.objects.get()
    assert (contribution.source_name, str(contribution.made_to)) == (
        "Handbook of errors",
        "2025-06-30",
    )
    queue = reverse("datanets:review-queue", args=[datanet.slug])
    for url in (contribution.get_absolute_url(), queue):
        page = as_user(curator).get(url).content.decode()
        assert "Handbook of errors" in page
        assert "30 June 2025" in page
        assert "Names removed" in page


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"source": "", "method": "written"}, "Say whose rows they are."),
        ({"source": "own", "method": ""}, "Say how the rows were made."),
        ({"source": "published", "method": "written"}, "Name where they come from"),
        ({"source": "own", "method": "synthetic"}, "Name the program or AI model"),
        ({"consent": "given"}, "Say where the consent"),
        ({"made_from": "2025-02-01", "made_to": "2025-01-01"}, "It ends before it begins."),
        ({"made_to": "2999-01-01"}, "This day is still to come."),
        ({"method": "magic"}, "Select a valid choice"),
    ],
)
def test_a_missing_or_impossible_answer_is_named(as_user, datanet, contributor, answers, words):
    answer = as_user(contributor).post(page_of(datanet), form(**answers))
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Contribution.objects.exists()


def test_a_script_that_knows_no_questions_still_gives_rows(as_user, datanet, contributor):
    assert as_user(contributor).post(page_of(datanet), form()).status_code == 302
    contribution = Contribution.objects.get()
    assert (contribution.source, contribution.synthetic) == ("", False)
    page = as_user(contributor).get(contribution.get_absolute_url()).content
    assert b"Their contributor did not say." in page


def test_the_last_answers_are_filled_in_for_their_giver_only(
    as_user, datanet, contributor, stranger
):
    as_user(contributor).post(page_of(datanet), form(**PUBLISHED))
    assert b"Handbook of errors" in as_user(contributor).get(page_of(datanet)).content
    assert b"Handbook of errors" not in as_user(stranger).get(page_of(datanet)).content


def test_the_service_refuses_what_the_form_refuses(datanet, contributor, give):
    with pytest.raises(DomainError) as refusal:
        give(datanet, contributor, provenance={"source": "own", "method": "synthetic"})
    assert refusal.value.where == "made_by"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"source": "published"}, "rows_of_others_name_their_source"),
        ({"method": "mixed"}, "synthetic_rows_name_what_made_them"),
        ({"consent": "law"}, "consent_says_where_it_is_written"),
        ({"method": "magic"}, "method_is_one_of_the_list"),
        ({"made_from": "2025-02-01", "made_to": "2025-01-01"}, "rows_were_made_in_the_order"),
    ],
)
def test_the_database_holds_no_contradiction(pending, change, name):
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        Contribution.objects.filter(pk=pending.pk).update(**change)


def test_synthetic_rows_are_said_so_everywhere(
    as_user, client, datanet, contributor, curator, owner, give
):
    given = give(datanet, contributor, provenance=SYNTHETIC)
    queue = reverse("datanets:review-queue", args=[datanet.slug])
    assert b">Synthetic</span>" in as_user(curator).get(queue).content
    approve_all(datanet, owner)
    version = cut_version(datanet=datanet, actor=owner)
    places = [given, Record.objects.first(), version, datanet]
    for url in [place.get_absolute_url() for place in places]:
        assert b">Synthetic</span>" in as_user(owner).get(url).content, url


def test_manifest_and_croissant_tell_rows_by_source_and_method(
    client, datanet, contributor, stranger, owner, give
):
    as_given = {"source": "published", "source_name": "Handbook", "method": "extracted"}
    give(datanet, contributor, provenance={**as_given, "origin": "Austria"})
    give(datanet, stranger, jsonl([{"question": "a b", "answer": "c d"}]), provenance=SYNTHETIC)
    approve_all(datanet, owner)
    version = cut_version(datanet=datanet, actor=owner)
    manifest = json.loads(blob_path(version.manifest_digest).read_bytes())
    told = manifest["provenance"]
    assert told["rows_by_source"] == {"published": 3, "own": 1}
    assert (told["rows_by_method"], told["synthetic_rows"]) == ({"extracted": 3, "synthetic": 1}, 1)
    assert len(manifest["records"]) == 4
    assert "Handbook" not in json.dumps(manifest)
    croissant = client.get(reverse("datanets:version-croissant", args=[version.public_id])).json()
    assert croissant["spatialCoverage"] == ["Austria"]
    values = {one["name"]: one["value"] for one in croissant["additionalProperty"]}
    assert values["Rows by method: Synthetic: made by a program or AI model"] == 1
    page = client.get(datanet.get_absolute_url()).content.decode()
    assert "Taken from documents or web pages" in page


def test_withdrawal_forgets_the_answers_and_their_sums(datanet, contributor, owner, give):
    given = give(datanet, contributor, provenance=SYNTHETIC)
    give(datanet, contributor, jsonl([{"question": "a b", "answer": "c d"}]))
    approve_all(datanet, owner)
    version = cut_version(datanet=datanet, actor=owner)
    withdraw_contribution(contribution=given, actor=contributor)
    given.refresh_from_db()
    assert (given.source, given.method, given.made_by) == ("", "", "")
    told = summary_for_machines(counts_of_version(version))
    assert (told["synthetic_rows"], told["rows_by_source"]) == (0, {"none": 1})


def test_a_file_that_forbids_training_is_refused_with_the_remedy(as_user, datanet, contributor):
    marked = SimpleUploadedFile("a.jsonl", jsonl([{**ROWS[0], "tdm-reservation": 1}]))
    answer = as_user(contributor).post(page_of(datanet), {**form(), "file": marked})
    assert answer.status_code == 422
    assert b"tdm-reservation is 1, in row 1" in answer.content
    assert b"Ask whoever holds the rights" in answer.content
    assert not Contribution.objects.exists()


def test_programs_say_and_read_it_too(as_user, datanet, contributor):
    url = reverse("datanets:api-contribution-list", args=[datanet.slug])
    given = as_user(contributor).post(url, form(**PUBLISHED))
    assert given.status_code == 201
    assert given.json()["provenance"]["consent_evidence"] == "Forms of 2025"
    refused = as_user(contributor).post(url, form(source="own", method="synthetic"))
    assert refused.json()["error"]["where"] == "made_by"
