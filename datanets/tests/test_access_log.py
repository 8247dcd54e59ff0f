"""The access log: what the owner sees, what contributors see, and what nobody else does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from datanets.models import Membership
from datanets.services import (
    change_role,
    cut_version,
    decide_grant,
    note_reading,
    note_training,
    request_access,
    set_member,
)
from datanets.tests.conftest import approve_all, make_datanet
from openledger_site.core.audit import verify_audit
from openledger_site.core.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def given(private, owner, contributor, give):
    """A private Datanet with rows of Carla's."""
    set_member(datanet=private, actor=owner, email=contributor.email, role="contributor")
    give(private, contributor)
    approve_all(private, owner)
    return private


def log_of(client, datanet):
    return client.get(reverse("datanets:access-log", args=[datanet.slug]))


def opened(user) -> int:
    return AuditEntry.objects.filter(action="rows.opened", actor=f"user:{user.pk}").count()


def test_whoever_opens_rows_is_written_down_once_a_day(as_user, given, owner, builder):
    set_member(datanet=given, actor=owner, email=builder.email, role="reader")
    record = given.records.first()
    for page in (given.get_absolute_url(), record.get_absolute_url(), given.get_absolute_url()):
        assert as_user(builder).get(page).status_code == 200
    assert opened(builder) == 1
    assert verify_audit().ok


def test_another_day_is_another_line(given, builder, monkeypatch):
    note_reading(reader=builder, datanet=given)
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)
    note_reading(reader=builder, datanet=given)
    assert opened(builder) == 2


def test_public_rows_and_own_rows_are_nobodys_business(as_user, given, contributor, version, owner):
    as_user(owner).get(version.datanet.get_absolute_url())
    as_user(contributor).get(given.records.first().get_absolute_url())
    assert (opened(owner), opened(contributor)) == (0, 0)


def test_a_trainer_who_sees_no_row_opened_none(as_user, given, owner, builder):
    set_member(datanet=given, actor=owner, email=builder.email, role="trainer")
    assert as_user(builder).get(given.get_absolute_url()).status_code == 200
    assert opened(builder) == 0


def test_the_owner_sees_who_was_given_what_until_when_and_who_read(
    as_user, given, owner, builder, stranger
):
    grant = request_access(datanet=given, user=builder, right="train", purpose="Secret purpose")
    decide_grant(grant=grant, actor=owner, granted=True, days=30)
    member = set_member(datanet=given, actor=owner, email=stranger.email, role="reader")
    as_user(stranger).get(given.get_absolute_url())
    change_role(datanet=given, actor=owner, membership_id=member.pk, role="reviewer")
    page = log_of(as_user(owner), given).content.decode()
    for words in ("asked for access", "granted access to Bo", "until", "opened rows", "reviewer"):
        assert words in page
    assert "Secret purpose" not in page


def test_a_contributor_sees_readers_and_grants_but_no_requests(
    as_user, given, owner, contributor, builder, stranger
):
    grant = request_access(datanet=given, user=builder, right="read", purpose="x")
    asked = log_of(as_user(contributor), given).content.decode()
    assert "asked for access" not in asked
    decide_grant(grant=grant, actor=owner, granted=True)
    as_user(builder).get(given.get_absolute_url())
    set_member(datanet=given, actor=owner, email=stranger.email, role="contributor")
    seen = log_of(as_user(contributor), given).content.decode()
    assert "granted access to Bo" in seen
    assert "opened rows" in seen
    assert "made a member of Sam" not in seen


def test_a_contributor_who_was_removed_still_sees_who_reads_their_rows(as_user, given, contributor):
    Membership.objects.filter(user=contributor).delete()
    assert log_of(as_user(contributor), given).status_code == 200


def test_a_draft_is_no_gift_that_opens_the_log(as_user, owner, stranger, give):
    """Anybody may begin one in a restricted Datanet, and nobody else ever sees it."""
    restricted = make_datanet(owner, "Cases", "restricted")
    give(restricted, stranger, look_first=True)
    assert log_of(as_user(stranger), restricted).status_code == 404
    give(restricted, stranger)
    assert log_of(as_user(stranger), restricted).status_code == 200


def test_others_get_404(as_user, given, stranger, curator, client):
    for person in (stranger, curator):
        assert log_of(as_user(person), given).status_code == 404
    assert log_of(client, given).status_code == 302


def test_the_log_costs_the_same_for_any_length(as_user, given, owner, make_user, measured):
    path = reverse("datanets:access-log", args=[given.slug])
    note_reading(reader=make_user("first"), datanet=given)
    few = measured(as_user(owner), path)
    for number in range(5):
        note_reading(reader=make_user(f"r{number}"), datanet=given)
    assert measured(as_user(owner), path) == few


def test_a_contributor_sees_who_trained_on_their_rows_and_on_no_others(
    as_user, given, owner, contributor, builder, stranger, give
):
    cut = cut_version(datanet=given, actor=owner)
    give(given, stranger, b'{"question": "Which?", "answer": "The other one."}')
    note_training(trainer=builder, version=cut)
    theirs, others = (
        log_of(as_user(person), given).content.decode() for person in (contributor, stranger)
    )
    assert "Bo" in theirs
    assert "began to train on the rows" in theirs
    assert "version 1, 3 rows" in theirs
    assert "began to train on the rows" not in others
    assert "began to train on the rows" in log_of(as_user(owner), given).content.decode()


def test_training_on_public_rows_is_nobodys_business(version, builder):
    note_training(trainer=builder, version=version)
    assert not AuditEntry.objects.filter(action="rows.trained").exists()
