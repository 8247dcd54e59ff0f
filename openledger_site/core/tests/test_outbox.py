"""The outbox: a message leaves exactly when its cause is committed."""

from __future__ import annotations

import pytest
from celery.exceptions import NotRegistered
from django.db import transaction

from openledger_site.core.models import OutboxMessage
from openledger_site.core.outbox import relay, send_on_commit

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_rolled_back_cause_sends_nothing():
    with transaction.atomic():
        send_on_commit("core.run_job", queue="test", job_id="1")
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()


def test_a_committed_cause_sends_at_once():
    with transaction.atomic():
        send_on_commit("core.run_job", queue="test", job_id="1")
    assert OutboxMessage.objects.get().sent_at


def test_a_message_left_behind_by_a_crash_is_relayed():
    OutboxMessage.objects.create(task="core.run_job", queue="test", arguments={"job_id": "1"})
    assert relay() == 1
    assert relay() == 0


def test_an_unknown_task_fails_where_it_is_asked_for():
    with pytest.raises(NotRegistered):
        send_on_commit("core.misspelt", queue="test")
