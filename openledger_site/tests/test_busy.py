"""A lock that another transaction holds for too long is said to be a lock, not a fault."""

from __future__ import annotations

import json

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from django.test import RequestFactory

from openledger_site.accounts.models import User
from openledger_site.core.middleware import DomainErrorMiddleware

pytestmark = pytest.mark.django_db(transaction=True)


def refused_lock(user: User) -> OperationalError:
    """The error of a statement that waited a hundredth of a second for a row somebody locked."""
    settings = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{name: settings[name] for name in names if name in settings}) as other:
        other.execute("select 1 from accounts_user where id = %s for update", [user.pk])
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("set local lock_timeout = '10ms'")
            with pytest.raises(OperationalError) as caught:
                User.objects.select_for_update().get(pk=user.pk)
            transaction.set_rollback(True)
    return caught.value


def test_a_program_is_told_to_try_again(stranger: User) -> None:
    middleware = DomainErrorMiddleware(lambda request: HttpResponse())
    answer = middleware.process_exception(
        RequestFactory().post("/v1/chat/completions"), refused_lock(stranger)
    )
    assert answer is not None
    assert answer.status_code == 503
    assert json.loads(answer.content)["error"]["code"] == "busy"


def test_so_is_who_had_to_give_way_in_a_circle_of_locks() -> None:
    middleware = DomainErrorMiddleware(lambda request: HttpResponse())
    fault = OperationalError("deadlock detected")
    fault.__cause__ = psycopg.errors.DeadlockDetected()
    answer = middleware.process_exception(RequestFactory().get("/"), fault)
    assert answer is not None
    assert answer.status_code == 503


def test_any_other_fault_of_the_database_stays_one() -> None:
    middleware = DomainErrorMiddleware(lambda request: HttpResponse())
    fault = OperationalError("gone")
    assert middleware.process_exception(RequestFactory().get("/"), fault) is None
