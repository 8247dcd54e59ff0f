from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from datanets.models import Record, Review

pytestmark = pytest.mark.django_db

ROWS = reverse("admin:datanets_record_changelist")


@pytest.fixture
def staff(make_user):
    return make_user("Ada", is_staff=True, is_superuser=True)


def decide(client, action: str):
    chosen = list(Record.objects.values_list("pk", flat=True))
    form = {"action": action, "_selected_action": chosen}
    return client.post(ROWS, form, follow=True)


def test_rows_are_approved_in_bulk_through_the_service(as_user, pending, staff):
    decide(as_user(staff), "approve")
    assert set(Record.objects.values_list("state", flat=True)) == {"approved"}
    assert Review.objects.filter(reviewer=staff).count() == 3


def test_who_may_only_look_decides_nothing(as_user, pending, make_user):
    looker = make_user("Lou", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_record"))
    for action in ("approve", "reject"):
        decide(as_user(looker), action)
    assert set(Record.objects.values_list("state", flat=True)) == {"pending"}


def test_ones_own_rows_are_left_alone(as_user, datanet, staff, give):
    give(datanet, staff)
    answer = decide(as_user(staff), "reject")
    assert b"left alone" in answer.content
    assert not Review.objects.exists()


def test_hashes_are_shown_and_not_edited(as_user, pending, staff):
    record = pending.records.first()
    url = reverse("admin:datanets_record_change", args=[record.pk])
    page = as_user(staff).get(url).content
    assert record.content_hash.encode() in page
    assert b"<textarea" not in page


@pytest.mark.parametrize("model", ["datanet", "contribution", "record", "review", "version"])
def test_every_list_opens(as_user, version, staff, model):
    url = reverse(f"admin:datanets_{model}_changelist")
    assert as_user(staff).get(url, {"q": "error"}).status_code == 200


def test_people_who_are_not_staff_do_not_come_in(as_user, pending, owner):
    assert as_user(owner).get(ROWS).status_code == 302
