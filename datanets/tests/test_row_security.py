"""PostgreSQL refuses hidden rows to a request that forgot to ask who is reading (decision 0033)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import include, path
from django.utils import timezone
from rest_framework.decorators import api_view
from rest_framework.response import Response

from datanets.models import AccessGrant, Datanet, Finding, Membership, Record, VersionRecord
from datanets.row_security import GUARDED, UNGUARDED
from datanets.selectors import training_rows
from datanets.services import cut_version
from datanets.tests.conftest import Give, approve_all
from openledger_site.accounts.models import User
from openledger_site.core.middleware import row_security
from openledger_site.core.row_security import (
    WEB_ROLE,
    Reader,
    all_rows,
    check_row_security,
    is_on,
    read_as,
    reading_as,
)

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@login_not_required
def forgetful(request: HttpRequest) -> HttpResponse:
    """A view as nobody should write it."""
    return JsonResponse({"user": request.user.pk, "rows": Record.objects.count()})


@login_not_required
async def forgetful_async(request: HttpRequest) -> HttpResponse:
    await request.auser()
    return JsonResponse({"rows": await Record.objects.acount()})


@login_not_required
@api_view(["GET"])
def forgetful_api(request: Any) -> Response:
    return Response({"rows": Record.objects.count()})


urlpatterns = [
    path("forgetful/", forgetful),
    path("forgetful-async/", forgetful_async),
    path("api/forgetful/", forgetful_api),
    path("", include("openledger_site.urls")),
]


@pytest.fixture
def rows(private: Datanet, contributor: User, owner: User, give: Give) -> int:
    """Three approved rows of a private Datanet, in a version; how many there are."""
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    give(private, contributor)
    approve_all(private, owner)
    cut_version(datanet=private, actor=owner)
    return Record.objects.count()


def seen_by(user: Any) -> int:
    with reading_as(Reader(named=user)):
        return Record.objects.count()


def in_force() -> tuple[str, str]:
    """The role and the reader of the next statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, coalesce(current_setting('openledger.reader', true), '')"
        )
        role, reader = cursor.fetchone()
    return role, reader


def divide_by_zero() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def test_the_net_is_on(db):
    assert is_on()
    assert check_row_security(databases=["default"]) == []


def test_without_the_role_the_check_says_that_the_net_is_off(db):
    with connection.cursor() as cursor:
        cursor.execute("REVOKE SELECT ON django_migrations FROM openledger_web")
    (warning,) = check_row_security(databases=["default"])
    assert "Row-level security is off" in warning.msg


def test_a_stranger_and_a_person_not_signed_in_get_no_row_of_a_private_datanet(rows, stranger):
    assert (rows, seen_by(stranger), seen_by(AnonymousUser())) == (3, 0, 0)


def test_rows_of_a_restricted_datanet_are_refused_too_and_public_ones_are_not(
    rows, private, stranger
):
    Datanet.objects.filter(pk=private.pk).update(visibility="restricted")
    assert seen_by(stranger) == 0
    Datanet.objects.filter(pk=private.pk).update(visibility="public")
    assert seen_by(stranger) == seen_by(AnonymousUser()) == rows


@pytest.mark.parametrize(("role", "sees"), [
    ("curator", 3), ("reviewer", 3), ("reader", 3), ("contributor", 0), ("trainer", 0),
])  # fmt: skip
def test_each_role_gets_what_it_may_read(rows, private, stranger, role, sees):
    Membership.objects.create(datanet=private, user=stranger, role=role)
    assert seen_by(stranger) == sees


def test_the_owner_gets_all_rows_and_a_contributor_their_own_even_after_leaving(
    rows, private, owner, contributor, reviewer, give
):
    Membership.objects.create(datanet=private, user=reviewer, role="reader")
    give(
        private,
        reviewer,
        b'{"question": "What does OSError mean?", "answer": "The system said no."}',
    )
    assert (seen_by(owner), seen_by(contributor), seen_by(reviewer)) == (4, 3, 4)
    Membership.objects.filter(user__in=[contributor, reviewer]).delete()
    assert (seen_by(contributor), seen_by(reviewer)) == (3, 1)


@pytest.mark.parametrize(("right", "state", "days", "sees"), [
    ("read", "granted", None, 3),
    ("read", "granted", 1, 3),
    ("read", "granted", -1, 0),
    ("read", "requested", None, 0),
    ("read", "revoked", None, 0),
    ("train", "granted", None, 0),
])  # fmt: skip
def test_a_grant_opens_rows_while_it_holds_and_only_for_reading(
    rows, private, stranger, right, state, days, sees
):
    AccessGrant.objects.create(
        datanet=private,
        user=stranger,
        right=right,
        state=state,
        expires_at=None if days is None else timezone.now() + timedelta(days=days),
    )
    assert seen_by(stranger) == sees


@pytest.mark.parametrize("name", sorted(GUARDED - {"PersonalDatum", "ResumableUpload"}))
def test_no_guarded_table_gives_a_stranger_anything(rows, owner, stranger, name):
    record = Record.objects.first()
    Finding.objects.create(record=record, rule="short", sentence="It is short.")
    record.keys.create(kind="near_key", key=1)
    record.second_looks.create(source="reader", note="Is it so?")
    apps.get_model("datanets", "GoldRow").objects.create(record=record, expected="approve")
    apps.get_model("datanets", "Appeal").objects.create(record=record, text="Look again.")
    model = apps.get_model("datanets", name)
    with reading_as(Reader(named=owner)):
        assert model.objects.exists()
    with reading_as(Reader(named=stranger)):
        assert not model.objects.exists()


def test_unfinished_uploads_and_personal_data_are_for_who_sent_them(
    rows, private, owner, contributor
):
    contribution = private.contributions.get()
    contribution.personal_data.create(position=1, row=1, column="text", kind="email", start=0)
    private.uploads.create(owner=contributor, size_bytes=1, expires_at=timezone.now())
    for user, count in [(contributor, 1), (owner, 0)]:
        with reading_as(Reader(named=user)):
            assert contribution.personal_data.count() == private.uploads.count() == count


def test_every_model_with_words_has_a_policy_or_a_reason():
    names = {model.__name__ for model in apps.get_app_config("datanets").get_models()}
    assert names == GUARDED | UNGUARDED.keys()
    assert not GUARDED & UNGUARDED.keys()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid"
            " WHERE relrowsecurity AND polcmd = 'r'"
        )
        guarded = {name for (name,) in cursor.fetchall()}
    assert guarded == {apps.get_model("datanets", name)._meta.db_table for name in GUARDED}


@pytest.mark.urls(__name__)
def test_a_view_that_forgets_the_selector_shows_strangers_nothing(
    rows, owner, stranger, as_user: SignIn
):
    assert as_user(stranger).get("/forgetful/").json()["rows"] == 0
    assert Client().get("/forgetful/").json()["rows"] == 0
    assert as_user(owner).get("/forgetful/").json()["rows"] == rows


@pytest.mark.urls(__name__)
def test_an_async_view_and_an_api_view_are_held_by_it_too(rows, owner, stranger, as_user: SignIn):
    for user, count in [(owner, rows), (stranger, 0)]:
        assert as_user(user).get("/api/forgetful/").json()["rows"] == count
        assert as_user(user).get("/forgetful-async/").json()["rows"] == count


@pytest.mark.urls(__name__)
def test_under_asgi_it_is_the_same(rows, owner, stranger):
    for user, count in [(owner, rows), (stranger, 0)]:
        client = AsyncClient()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert async_to_sync(client.get)("/forgetful-async/").json()["rows"] == count


def test_the_reader_is_who_signs_in_during_the_request(rows, owner):
    request = RequestFactory().get("/")
    with reading_as(Reader(request)):
        assert Record.objects.count() == 0
        request.user = owner
        assert Record.objects.count() == rows
        assert in_force() == (WEB_ROLE, str(owner.pk))


def test_a_view_may_name_the_reader_of_its_own_keys(rows, owner):
    with reading_as(Reader(RequestFactory().get("/"))):
        read_as(owner)
        assert Record.objects.count() == rows


def test_role_and_reader_are_put_back_after_a_request_that_raised(rows, stranger):
    outside = in_force()

    def view(request: HttpRequest) -> HttpResponse:
        request.user = stranger
        assert in_force() == (WEB_ROLE, str(stranger.pk))
        with transaction.atomic():
            divide_by_zero()
        raise AssertionError("never here")

    with pytest.raises(DatabaseError):
        row_security(view)(RequestFactory().get("/"))
    assert in_force() == outside
    assert Record.objects.count() == rows


def test_a_rollback_takes_the_role_from_nobody(rows, stranger):
    with reading_as(Reader(named=stranger)):
        with pytest.raises(DatabaseError), transaction.atomic():
            divide_by_zero()
        assert Record.objects.count() == 0
        assert in_force()[0] == WEB_ROLE


def test_every_row_is_for_who_says_why_and_ends_with_the_block(rows, stranger):
    with reading_as(Reader(named=stranger)):
        with all_rows("to see that it works"):
            assert Record.objects.count() == rows
        assert Record.objects.count() == 0
    with pytest.raises(ValueError, match="why"), all_rows(""):
        pass


def test_rows_to_learn_from_come_whole_and_open_nothing_in_between(rows, private, stranger):
    version = private.versions.get()
    with reading_as(Reader(named=stranger)):
        learnt = training_rows(version)
        assert next(learnt)
        assert Record.objects.count() == 0
        assert 1 + len(list(learnt)) == version.train_count


def test_workers_and_commands_see_all(rows, private):
    assert in_force()[0] != WEB_ROLE
    assert Record.objects.count() == rows
    assert VersionRecord.objects.count() == rows


def test_staff_sees_all_in_the_admin_and_nowhere_else(rows, make_user, as_user: SignIn, settings):
    client = as_user(make_user("Ada", is_staff=True, is_superuser=True))
    page = client.get("/admin/datanets/record/")
    assert page.context["cl"].result_count == rows
    settings.ROOT_URLCONF = __name__
    assert client.get("/forgetful/").json()["rows"] == 0


def test_who_writes_to_a_restricted_datanet_gets_their_row_back(rows, private, stranger, give):
    Datanet.objects.filter(pk=private.pk).update(visibility="restricted")
    with reading_as(Reader(named=stranger)):
        contribution = give(private, stranger)
        assert contribution.records.count() == Record.objects.count() == 3
