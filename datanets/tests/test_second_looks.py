"""Approved rows that somebody doubts: asked once, kept or taken out by another person."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from datanets.models import Record, SecondLook
from datanets.selectors import second_looks
from datanets.services import (
    AlreadyDecided,
    OwnRows,
    OwnStake,
    TooManyRows,
    ask_to_look_again,
    cut_version,
    decide_second_look,
    look_again,
    withdraw_contribution,
)
from datanets.tests.conftest import approve_all, staked
from openledger_site.core.errors import DomainError

pytestmark = pytest.mark.django_db
READER = SecondLook.Source.READER


@pytest.fixture
def record(datanet, pending, owner):
    approve_all(datanet, owner)
    return pending.records.select_related("datanet").first()


@pytest.fixture
def look(record, stranger):
    ask(record, stranger)
    return SecondLook.objects.get()


def ask(record, person, note="Is it so?"):
    return ask_to_look_again(
        record_ids=[record.public_id], source=READER, note=note, opened_by=person
    )


def test_the_same_doubt_is_asked_once(record, stranger, curator):
    assert ask(record, stranger) == 1
    assert ask(record, stranger) == 0
    assert ask(record, curator) == 1


def test_only_approved_rows_are_looked_at_again(pending, stranger):
    assert ask(pending.records.first(), stranger) == 0


def test_a_doubt_says_what_is_wrong(record, stranger):
    with pytest.raises(DomainError, match="wrong"):
        ask(record, stranger, note=" ")


def test_one_person_has_so_many_open(record, stranger, monkeypatch):
    monkeypatch.setattr(look_again, "OPEN_BY_ONE_PERSON_MAX", 1)
    ask(record, stranger)
    other = Record.objects.exclude(pk=record.pk).first()
    with pytest.raises(TooManyRows):
        ask(other, stranger)


def test_a_row_that_is_kept_stays_approved(look, record, owner):
    decide_second_look(look=look, curator=owner, keep=True)
    record.refresh_from_db()
    assert (record.state, look.outcome, look.closed_by) == ("approved", "kept", owner)
    with pytest.raises(AlreadyDecided):
        decide_second_look(look=look, curator=owner, keep=False, reason="wrong")


def test_a_row_taken_out_is_in_no_later_version_and_stays_in_the_earlier(
    datanet, look, record, owner
):
    first = cut_version(datanet=datanet, actor=owner, note="With it")
    decide_second_look(look=look, curator=owner, keep=False, reason="wrong")
    second = cut_version(datanet=datanet, actor=owner, note="Without it")
    assert first.entries.filter(record=record).exists()
    assert not second.entries.filter(record=record).exists()
    review = record.reviews.first()
    assert (review.verdict, review.reason, review.note) == ("reject", "wrong", "Is it so?")


def test_one_decision_ends_all_doubts_about_a_row(look, record, curator, owner):
    ask(record, curator)
    decide_second_look(look=look, curator=owner, keep=True)
    assert not second_looks(owner, record.datanet).exists()


def test_who_has_stake_behind_a_row_does_not_decide_about_it(look, record, curator):
    staked(record.contribution.stake_subject, 5, by=curator)
    with pytest.raises(OwnStake):
        decide_second_look(look=look, curator=curator, keep=True)


def test_nobody_decides_about_their_own_row(datanet, owner, curator, stranger, give):
    give(datanet, owner)
    approve_all(datanet, curator)
    mine = Record.objects.get(instruction="What does KeyError mean?")
    ask(mine, stranger)
    assert not second_looks(owner, datanet).exists()
    with pytest.raises(OwnRows):
        decide_second_look(look=SecondLook.objects.get(), curator=owner, keep=True)


def test_a_withdrawn_row_leaves_the_list(look, pending, contributor, owner):
    withdraw_contribution(contribution=pending, actor=contributor)
    assert not second_looks(owner, pending.datanet).exists()
    with pytest.raises(AlreadyDecided):
        decide_second_look(look=look, curator=owner, keep=True)


def test_the_database_wants_a_time_with_an_outcome(look):
    with pytest.raises(IntegrityError), transaction.atomic():
        SecondLook.objects.update(outcome="kept")


def test_a_reader_tells_the_curators_who_decide_by_page(record, stranger, owner, as_user):
    assert b"Something is wrong" in as_user(stranger).get(record.get_absolute_url()).content
    url = reverse("datanets:record-doubt", args=[record.public_id])
    assert as_user(stranger).post(url, {"note": "It says the opposite."}).status_code == 302
    page = reverse("datanets:second-look-list", args=[record.datanet.slug])
    assert b"It says the opposite." in as_user(owner).get(page).content
    assert as_user(stranger).get(page).status_code == 404
    look = SecondLook.objects.get()
    decide = reverse("datanets:second-look-decide", args=[look.public_id])
    assert as_user(owner).post(decide, {"decision": "take_out"}).status_code == 422
    answer = as_user(owner).post(decide, {"decision": "take_out", "reason": "wrong"}, follow=True)
    assert b"Nothing to look at again" in answer.content
    record.refresh_from_db()
    assert record.state == "rejected"
