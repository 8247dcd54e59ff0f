"""What the undecided see: samples, card, completeness, licences, citation, Croissant."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from datanets import selectors
from datanets.citation import cite
from datanets.completeness import CARD_QUESTIONS, Facts, completeness
from datanets.models import Contribution, Datanet, DatanetCard, Membership, Record
from datanets.services import edit_card, mark_sample, withdraw_contribution
from openledger_site.core.errors import Conflict
from openledger_site.core.models import AuditEntry

pytestmark = pytest.mark.django_db
ANSWERS = {name: f"Three words about {name}" for name, _, _ in CARD_QUESTIONS}


def url(name: str, thing: object) -> str:
    return reverse(f"datanets:{name}", args=[thing])


# --- Samples -----------------------------------------------------------------------------------


def test_a_public_datanet_shows_a_few_rows_to_everybody(client, version):
    page = client.get(version.datanet.get_absolute_url())
    assert len(page.context["samples"]) == 3


def test_of_a_restricted_one_strangers_read_what_its_owner_marked(client, version, owner):
    Datanet.objects.update(visibility="restricted")
    marked, other = Record.objects.order_by("pk")[:2]
    mark_sample(record=marked, actor=owner, is_sample=True)
    page = client.get(version.datanet.get_absolute_url()).content.decode()
    assert marked.response in page
    assert other.response not in page
    assert marked.get_absolute_url() not in page  # the row's own page needs a right
    mark_sample(record=marked, actor=owner, is_sample=False)
    assert marked.response not in client.get(version.datanet.get_absolute_url()).content.decode()


def test_of_a_private_one_a_trainer_reads_no_sample(as_user, version, owner, stranger):
    Datanet.objects.update(visibility="private")
    mark_sample(record=Record.objects.first(), actor=owner, is_sample=True)
    Membership.objects.create(datanet=version.datanet, user=stranger, role="trainer")
    page = as_user(stranger).get(version.datanet.get_absolute_url())
    assert page.status_code == 200
    assert not page.context["samples"]


def test_a_sample_is_marked_on_the_rows_page(as_user, version, curator):
    Datanet.objects.update(visibility="restricted")
    record = Record.objects.first()
    assert b"Show it as a sample" in as_user(curator).get(record.get_absolute_url()).content
    answer = as_user(curator).post(url("record-sample", record.public_id), {"sample": "yes"})
    assert answer.status_code == 302
    record.refresh_from_db()
    assert record.is_sample
    assert AuditEntry.objects.filter(action="record.mark_sample").exists()


def test_those_who_do_not_curate_mark_nothing(as_user, version, contributor):
    record = Record.objects.first()
    answer = as_user(contributor).post(url("record-sample", record.public_id), {"sample": "yes"})
    assert answer.status_code == 404


def test_a_row_that_only_models_may_read_is_no_sample(version, owner):
    Contribution.objects.update(licence="LicenseRef-OpenLedger-Train-Only")
    with pytest.raises(Conflict, match="nobody else read it"):
        mark_sample(record=Record.objects.first(), actor=owner, is_sample=True)


def test_a_withdrawn_sample_is_gone(client, version, pending, owner, contributor):
    Datanet.objects.update(visibility="restricted")
    mark_sample(record=Record.objects.first(), actor=owner, is_sample=True)
    withdraw_contribution(contribution=pending, actor=contributor)
    assert not client.get(version.datanet.get_absolute_url()).context["samples"]
    assert not Record.objects.filter(is_sample=True).exists()


# --- Card --------------------------------------------------------------------------------------


def test_a_card_is_previewed_before_it_is_saved(as_user, datanet, owner, client):
    address = url("card-edit", datanet.slug)
    shown = as_user(owner).post(address, {**ANSWERS, "preview": "1"})
    assert b"Preview: not saved yet" in shown.content
    assert not DatanetCard.objects.exists()
    assert as_user(owner).post(address, ANSWERS).url == datanet.get_absolute_url()
    page = client.get(datanet.get_absolute_url()).content
    assert all(answer.encode() in page for answer in ANSWERS.values())


def test_a_card_is_text_and_no_markup(as_user, datanet, owner, client):
    edit_card(datanet=datanet, actor=owner, answers={"purpose": "<script>alert(1)</script>"})
    assert b"<script>alert(1)" not in client.get(datanet.get_absolute_url()).content


def test_an_answer_that_is_too_long_is_refused_beside_its_question(as_user, datanet, owner):
    answer = as_user(owner).post(url("card-edit", datanet.slug), {"purpose": "x" * 3_001})
    assert answer.status_code == 422
    assert b"at most 3000 characters" in answer.content


def test_only_curators_write_the_card(as_user, datanet, contributor):
    assert as_user(contributor).post(url("card-edit", datanet.slug), ANSWERS).status_code == 404


def facts(**changed: object) -> Facts:
    full = {"card": ANSWERS, "guidelines": "word " * 10, "accepted_rows": 20, "contributors": 2,
            "versions": 1, "rows_wait": False, "has_samples": True,
            "rows_of_known_source": 18}  # fmt: skip
    return Facts(**full | changed)


def test_a_page_with_everything_scores_100_and_an_empty_one_4():
    assert completeness(facts()).score == 100
    assert not completeness(facts()).next_steps
    empty = {"card": {}, "guidelines": "", "accepted_rows": 0, "contributors": 0, "versions": 0}
    assert completeness(facts(**empty, has_samples=False)).score == 4  # no row waits


def test_what_brings_most_points_is_to_be_done_next():
    steps = completeness(facts(card={}, rows_wait=True)).next_steps
    assert [step.points for step in steps] == sorted((s.points for s in steps), reverse=True)
    assert "Review the rows that wait" in [step.todo for step in steps]


def test_the_list_of_what_to_do_is_for_those_who_may_do_it(as_user, version, owner, stranger):
    page = as_user(owner).get(version.datanet.get_absolute_url()).content.decode()
    assert "What to do next" in page
    assert f"{url('card-edit', version.datanet.slug)}#id_purpose" in page
    seen = as_user(stranger).get(version.datanet.get_absolute_url()).content.decode()
    assert "What to do next" not in seen


# --- Citation and Croissant ---------------------------------------------------------------------


def test_a_citation_names_the_root_of_exactly_these_rows(client, version):
    page = client.get(version.get_absolute_url()).content.decode()
    assert f"Merkle root 0x{version.merkle_root}" in page
    assert f"@misc{{openledger-{version.datanet.slug}-v1," in page


def test_a_name_cannot_end_its_field_in_bibtex():
    made = cite(name="A } , url={x} & 50%", slug="a", owner="\\O", number=1, year=2026,
                merkle_root="0", url="u").bibtex  # fmt: skip
    assert made.count("{") == made.count("}")
    assert r"A  , url=x \& 50\%" in made


REQUIRED = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator",
            "datePublished", "distribution"}  # fmt: skip


def described(client, version) -> dict[str, object]:
    answer = client.get(url("version-croissant", version.public_id))
    assert answer["Content-Type"] == "application/ld+json"
    return json.loads(answer.content)


def test_croissant_has_every_required_property(client, version, owner):
    edit_card(datanet=version.datanet, actor=owner, answers=ANSWERS | {"languages": "English, de"})
    made = described(client, version)
    assert made.keys() >= REQUIRED
    assert made["@context"]["conformsTo"] == "dct:conformsTo"
    assert made["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert made["@type"] == "sc:Dataset"
    assert made["license"] == ["https://spdx.org/licenses/PSF-2.0.html"]
    assert made["inLanguage"] == ["English", "de"]


def test_the_file_in_croissant_has_the_checksum_of_what_is_downloaded(client, version):
    import hashlib

    made = described(client, version)
    file = made["distribution"][0]
    manifest = b"".join(client.get(file["contentUrl"]).streaming_content)
    assert hashlib.sha256(manifest).hexdigest() == file["sha256"]
    rows = json.loads(manifest)["records"]
    for field in made["recordSet"][0]["field"]:
        assert field["source"]["extract"]["jsonPath"] == f"$.records[*].{field['name']}"
        assert field["name"] in rows[0]


def test_pages_link_to_croissant(client, version):
    address = url("version-croissant", version.public_id)
    link = f'type="application/ld+json" title="Croissant" href="{address}"'
    for page in (version.get_absolute_url(), version.datanet.get_absolute_url()):
        assert link in client.get(page).content.decode()


def test_the_leaves_are_paged_without_counting(client, version):
    page = client.get(version.get_absolute_url(), {"leaf": "2"})
    assert [entry.position for entry in page.context["entries"]] == [2]
    for odd in ("-1", "99999999999", "x", "3"):
        shown = client.get(version.get_absolute_url(), {"leaf": odd})
        assert len(shown.context["entries"]) == 3


def test_the_licences_of_the_rows_are_summed(client, version):
    page = client.get(version.get_absolute_url())
    assert page.context["licences"] == [("PSF-2.0", 3)]
    assert selectors.counts_shown(version.datanet)[0].by["licence"] == {"PSF-2.0": 3}
