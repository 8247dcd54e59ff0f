from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError, ProgrammingError, transaction

from datanets.models import Record, Review
from datanets.selectors import review_queue
from datanets.services import AlreadyDecided, OwnRows, review_all, review_record, undo_review
from datanets.tests.conftest import approve_all
from openledger_site.core.errors import Conflict, DomainError

pytestmark = pytest.mark.django_db


@pytest.fixture
def record(pending):
    return pending.records.select_related("contribution", "datanet").first()


def test_an_approval_is_kept_with_its_reviewer(record, curator):
    review_record(record=record, reviewer=curator, verdict="approve")
    record.refresh_from_db()
    review = record.reviews.get()
    assert (record.state, review.reviewer, review.verdict) == ("approved", curator, "approve")


def test_a_rejection_says_why(record, curator):
    with pytest.raises(DomainError, match="reason"):
        review_record(record=record, reviewer=curator, verdict="reject")
    review_record(record=record, reviewer=curator, verdict="reject", reason="wrong")
    assert record.reviews.get().reason == "wrong"


def test_nobody_reviews_their_own_rows(record, contributor):
    with pytest.raises(OwnRows):
        review_record(record=record, reviewer=contributor, verdict="approve")


def test_the_database_refuses_a_review_of_own_rows(record, contributor):
    review = Review(record=record, reviewer=contributor, verdict="approve", batch=uuid.uuid4())
    with pytest.raises(IntegrityError, match="own rows"), transaction.atomic():
        review.save()


def test_the_database_refuses_to_change_a_review(record, curator):
    review_record(record=record, reviewer=curator, verdict="approve")
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Review.objects.update(verdict="reject")


def test_the_second_reviewer_is_told_that_it_is_decided(record, curator, owner):
    review_record(record=record, reviewer=curator, verdict="approve")
    with pytest.raises(AlreadyDecided):
        review_record(record=record, reviewer=owner, verdict="reject", reason="wrong")


def test_all_that_match_are_approved_but_ones_own(datanet, pending, curator, give):
    mine = give(datanet, curator)
    queue = review_queue(curator, datanet)
    decision = review_all(records=queue, datanet=datanet, reviewer=curator, verdict="approve")
    assert decision.count == 3
    assert set(mine.records.values_list("state", flat=True)) == {"pending"}


def test_a_contribution_is_decided_when_no_row_waits(datanet, pending, curator):
    approve_all(datanet, curator)
    pending.refresh_from_db()
    assert pending.state == "decided"


def test_one_undo_takes_back_one_press(datanet, pending, curator):
    queue = review_queue(curator, datanet)
    press = review_all(records=queue, datanet=datanet, reviewer=curator, verdict="approve")
    assert undo_review(datanet=datanet, reviewer=curator, batch=press.batch).count == 3
    pending.refresh_from_db()
    assert pending.state == "in_review"
    assert Review.objects.count() == 6
    with pytest.raises(Conflict):
        undo_review(datanet=datanet, reviewer=curator, batch=press.batch)


def test_nobody_undoes_what_another_decided(record, curator, owner):
    press = review_record(record=record, reviewer=curator, verdict="approve")
    with pytest.raises(Conflict):
        undo_review(datanet=record.datanet, reviewer=owner, batch=press.batch)


def test_a_row_in_a_version_is_not_undone(version, owner):
    batch = Review.objects.first().batch
    with pytest.raises(Conflict, match="version"):
        undo_review(datanet=version.datanet, reviewer=owner, batch=batch)
    assert not Record.objects.exclude(state="approved").exists()
