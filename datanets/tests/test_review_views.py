"""The review queue by page."""

from __future__ import annotations

import pytest
from django.urls import reverse

from datanets.models import Record, Review
from datanets.tests.conftest import jsonl

pytestmark = pytest.mark.django_db


def queue_of(datanet) -> str:
    return reverse("datanets:review-queue", args=[datanet.slug])


def review_of(record) -> str:
    return reverse("datanets:record-review", args=[record.public_id])


def test_the_queue_shows_the_first_row_with_its_guidelines_and_keys(as_user, pending, curator):
    page = as_user(curator).get(queue_of(pending.datanet)).content
    assert b"What does ZeroDivisionError mean?" in page
    assert b"One error a row." in page
    for key in (b"<kbd>A</kbd>", b"<kbd>R</kbd>", b"<kbd>S</kbd>"):
        assert key in page


def test_a_decision_leads_to_the_next_row(as_user, pending, curator):
    client, record = as_user(curator), pending.records.first()
    answer = client.post(review_of(record), {"verdict": "approve"}, follow=True)
    assert b"What does KeyError mean?" in answer.content
    assert b"<kbd>U</kbd>" in answer.content
    record.refresh_from_db()
    assert record.state == "approved"


def test_htmx_gets_the_card_alone(as_user, pending, curator):
    headers = {"HX-Request": "true"}
    answer = as_user(curator).get(queue_of(pending.datanet), headers=headers)
    assert b"review-card" in answer.content
    assert b"<html" not in answer.content


def test_enter_in_the_note_never_approves(as_user, pending, curator):
    """It presses the first button of the form that the note stands in."""
    page = as_user(curator).get(queue_of(pending.datanet)).text
    form = page[page.index(review_of(pending.records.first())) :]
    assert form.index('value="flag"') < form.index('value="approve"')


def test_a_skipped_row_waits(as_user, pending, curator):
    first = pending.records.first()
    page = as_user(curator).get(queue_of(pending.datanet), {"after": first.pk}).content
    assert b"What does KeyError mean?" in page
    assert b"3 rows waiting" in page


def test_a_rejection_without_a_reason_decides_nothing(as_user, pending, curator):
    client, record = as_user(curator), pending.records.first()
    answer = client.post(review_of(record), {"verdict": "reject"}, follow=True)
    assert b"Choose a reason" in answer.content
    assert not Review.objects.exists()


def test_the_duplicate_is_shown_beside_its_match(as_user, pending, curator, stranger, give):
    other = [{"question": "What does KeyError mean?", "answer": "A door is locked."}]
    give(pending.datanet, stranger, jsonl(other))
    page = as_user(curator).get(queue_of(pending.datanet), {"flag": "same_question"}).content
    assert b"An earlier row like it" in page
    assert b"<ins>" in page
    assert b"<del>" in page


def test_all_that_match_the_filter_are_decided(as_user, pending, curator):
    url = reverse("datanets:review-all", args=[pending.datanet.slug])
    as_user(curator).post(f"{url}?search=KeyError", {"verdict": "approve"})
    approved = Record.objects.filter(state="approved")
    assert [record.instruction for record in approved] == ["What does KeyError mean?"]


def test_undo_by_page_puts_the_rows_back(as_user, pending, curator):
    client, slug = as_user(curator), pending.datanet.slug
    client.post(reverse("datanets:review-all", args=[slug]), {"verdict": "approve"})
    batch = Review.objects.first().batch
    client.post(reverse("datanets:review-undo", args=[slug, batch]))
    assert Record.objects.filter(state="pending").count() == 3


def test_an_undo_is_offered_until_a_version_holds_the_rows(as_user, pending, curator):
    client, slug = as_user(curator), pending.datanet.slug
    client.post(reverse("datanets:review-all", args=[slug]), {"verdict": "approve"})
    assert b"Undo my last" in client.get(queue_of(pending.datanet)).content
    client.post(reverse("datanets:version-create", args=[slug]))
    assert b"Undo my last" not in client.get(queue_of(pending.datanet)).content


def test_ones_own_rows_are_not_in_the_queue_and_cannot_be_decided(as_user, datanet, owner, give):
    mine = give(datanet, owner).records.first()
    assert b"Nothing waits" in as_user(owner).get(queue_of(datanet)).content
    assert as_user(owner).post(review_of(mine), {"verdict": "approve"}).status_code == 403


def test_those_who_do_not_review_get_404(as_user, pending, contributor, stranger):
    for user in (contributor, stranger):
        assert as_user(user).get(queue_of(pending.datanet)).status_code == 404
        answer = as_user(user).post(review_of(pending.records.first()), {"verdict": "approve"})
        assert answer.status_code == 404


def test_the_queue_costs_the_same_for_any_number(as_user, pending, curator, measured):
    assert measured(as_user(curator), queue_of(pending.datanet)) <= 13


def test_a_refused_vote_leaves_the_reviewer_at_the_row_it_was_about(as_user, pending, curator):
    """After a skip the queue would begin anew, and the next vote be about another row."""
    first, second = pending.records.order_by("pk")[:2]
    client, queue = as_user(curator), queue_of(pending.datanet)
    skipped = client.get(f"{queue}?after={first.pk}")
    assert skipped.context["record"] == second
    vote = f"{review_of(second)}?{skipped.context['here']}"
    refused = client.post(vote, {"verdict": "reject"}, follow=True)
    assert refused.context["record"] == second
    assert "Choose a reason" in refused.text
    done = client.post(vote, {"verdict": "approve"}, follow=True)
    assert done.context["record"] == pending.records.order_by("pk")[2]  # what was skipped stays so
