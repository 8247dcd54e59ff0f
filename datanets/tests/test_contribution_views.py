"""Giving rows by page, following them, taking them back."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from datanets.models import Contribution, Membership, Record
from datanets.tests.conftest import ROWS, jsonl

pytestmark = pytest.mark.django_db

TERMS = {"licence": "PSF-2.0", "agree": "on"}


def page_of(datanet) -> str:
    return reverse("datanets:contribution-create", args=[datanet.slug])


def file(content: bytes = b"", name: str = "rows.jsonl") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content or jsonl(ROWS))


def test_the_page_names_formats_licence_and_guidelines(as_user, datanet, contributor):
    page = as_user(contributor).get(page_of(datanet)).content
    assert b"parquet" in page
    assert b"One error a row." in page
    assert b"agreement" in page
    assert b'value="PSF-2.0" selected' in page


def test_a_file_becomes_a_contribution(as_user, datanet, contributor):
    answer = as_user(contributor).post(page_of(datanet), {**TERMS, "file": file()})
    contribution = Contribution.objects.get()
    assert answer.status_code == 302
    assert answer.url == contribution.get_absolute_url()
    assert (contribution.state, contribution.title) == ("in_review", "rows.jsonl")


@pytest.mark.parametrize(
    "paste",
    [
        '{"question": "Why?", "answer": "So."}',
        '[{"question": "Why?", "answer": "So."}]',
        "question,answer\nWhy?,So.",
        "question\tanswer\nWhy?\tSo.",
    ],
)
def test_pasted_rows_are_recognised(as_user, datanet, contributor, paste):
    as_user(contributor).post(page_of(datanet), {**TERMS, "paste": paste})
    record = Record.objects.get()
    assert (record.instruction, record.response) == ("Why?", "So.")


def test_one_row_is_written_in_the_form(as_user, datanet, contributor):
    row = {"question": 'Why "so"?\nReally?', "answer": "Because, é."}
    as_user(contributor).post(page_of(datanet), {**TERMS, **row})
    record = Record.objects.get()
    assert record.instruction.splitlines() == row["question"].splitlines()
    assert record.response == row["answer"]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"paste": "a", "question": "b", "answer": "c"},
        {"question": "b"},
        {"paste": "x", "licence": "none"},
        {"paste": "x", "agree": ""},
    ],
)
def test_an_incomplete_form_is_answered_with_its_mistakes(as_user, datanet, contributor, form):
    answer = as_user(contributor).post(page_of(datanet), {**TERMS, **form})
    assert answer.status_code == 422
    assert b"errorlist" in answer.content
    assert not Contribution.objects.exists()


def test_the_same_upload_sent_twice_is_stored_once(as_user, datanet, contributor):
    for _ in range(2):
        form = {**TERMS, "file": file(), "idempotency_key": "once"}
        answer = as_user(contributor).post(page_of(datanet), form)
    assert Contribution.objects.count() == 1
    assert answer["Idempotent-Replay"] == "true"


def test_the_list_shows_ones_own_and_costs_the_same(as_user, pending, contributor, measured):
    client, own = as_user(contributor), reverse("datanets:contribution-list")
    assert b"rows.jsonl" in client.get(own).content
    assert measured(client, own) <= 4


def test_nobody_else_finds_them_in_their_list(as_user, pending, stranger):
    page = as_user(stranger).get(reverse("datanets:contribution-list"))
    assert b"Nothing given yet" in page.content


def test_the_page_is_for_its_contributor_and_the_reviewers(as_user, pending, curator, stranger):
    url = pending.get_absolute_url()
    assert b"What does KeyError mean?" in as_user(curator).get(url).content
    for name in ("contribution-detail", "contribution-progress", "contribution-bad-rows"):
        address = reverse(f"datanets:{name}", args=[pending.public_id])
        assert as_user(stranger).get(address).status_code == 404


def test_who_sent_rows_is_told_that_nothing_is_left_to_do(as_user, pending, contributor, curator):
    url, words = pending.get_absolute_url(), "Nothing is left for you to do"
    assert words in as_user(contributor).get(url).text
    assert words not in as_user(curator).get(url).text


def test_what_was_never_sent_is_nobody_elses_once_it_is_withdrawn(
    as_user, datanet, curator, contributor, give
):
    draft = give(datanet, contributor, filename="miller-v-smith.jsonl", look_first=True)
    for _ in range(2):
        assert as_user(curator).get(draft.get_absolute_url()).status_code == 404
        as_user(contributor).post(reverse("datanets:contribution-withdraw", args=[draft.public_id]))
    assert as_user(contributor).get(draft.get_absolute_url()).status_code == 200


def test_withdrawing_forgets_the_names_of_columns(as_user, datanet, contributor, give):
    """Without a header the first row stands where they are looked for."""
    given = give(datanet, contributor, b"Who is ill?,Mr Miller\nWho is well?,Nobody\n", "a.csv")
    assert given.state == "needs_mapping"
    chosen = {"instruction": "Who is ill?", "response": "Mr Miller"}
    page = as_user(contributor)
    page.post(reverse("datanets:contribution-map", args=[given.public_id]), chosen)
    given.refresh_from_db()
    assert given.mapping == chosen
    page.post(reverse("datanets:contribution-withdraw", args=[given.public_id]))
    given.refresh_from_db()
    assert given.state == "withdrawn"
    assert given.mapping == {}


def test_only_its_contributor_withdraws_it(as_user, pending, curator, contributor):
    withdraw = reverse("datanets:contribution-withdraw", args=[pending.public_id])
    assert as_user(curator).post(withdraw).status_code == 404
    assert as_user(contributor).get(withdraw).status_code == 405
    assert as_user(contributor).post(withdraw).status_code == 302
    pending.refresh_from_db()
    assert pending.state == "withdrawn"
    assert b"KeyError" not in as_user(contributor).get(pending.get_absolute_url()).content


def test_columns_are_named_on_the_page(as_user, datanet, contributor, give):
    waiting = give(datanet, contributor, b"ask,tell\nWhy?,So.\nHow?,Thus.\n", "rows.csv")
    client, named = as_user(contributor), {"instruction": "ask", "response": "tell"}
    page = client.get(waiting.get_absolute_url()).text
    assert page.index("Which column is which?") < page.index("SHA-256")
    assert "Rows left out" not in page  # nothing was left out: the file waits as a whole
    url = reverse("datanets:contribution-map", args=[waiting.public_id])
    client.post(url, {"instruction": "ask", "response": "ask"})
    assert not Record.objects.exists()
    client.post(url, named)
    assert Record.objects.count() == 2


@pytest.mark.parametrize("sign", ["=", "\uff1d"])
def test_left_out_rows_are_downloaded_without_formulas(
    as_user, datanet, contributor, give, sign: str
):
    rows = [{"question": "a", "answer": ""}, {"question": "b", "answer": "c"}]
    contribution = give(datanet, contributor, jsonl(rows))
    contribution.report["bad_rows"][0]["cause"] = f"{sign}1+1"
    contribution.save()
    url = reverse("datanets:contribution-bad-rows", args=[contribution.public_id])
    assert f"'{sign}1+1" in b"".join(as_user(contributor).get(url)).decode()


def test_a_private_datanet_takes_rows_from_members_only(as_user, private, contributor):
    assert as_user(contributor).post(page_of(private), TERMS).status_code == 404
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    as_user(contributor).post(page_of(private), {**TERMS, "file": file()})
    assert Contribution.objects.count() == 1
