"""The audit chain: unbroken, unchangeable, and honest about being broken."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from openledger_site.core.audit import record_audit, verify_audit

pytestmark = pytest.mark.django_db


@pytest.fixture
def three_entries():
    return [record_audit("tested", actor=None, subject=f"thing:{i}", amount=i) for i in range(3)]


def test_an_untouched_log_verifies(three_entries):
    report = verify_audit()
    assert (report.ok, report.entries, report.head) == (True, 3, three_entries[-1].hash)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE core_auditentry SET actor = 'nobody' WHERE number = 2",
        "DELETE FROM core_auditentry WHERE number = 2",
    ],
)
def test_the_database_refuses_a_change(three_entries, sql):
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE core_auditentry SET actor = 'nobody' WHERE number = 2",
        "UPDATE core_auditentry SET data = '{\"amount\": 9}' WHERE number = 2",
        "DELETE FROM core_auditentry WHERE number = 2",
    ],
)
def test_a_change_behind_the_databases_back_is_found(three_entries, sql):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_auditentry DISABLE TRIGGER USER")
        cursor.execute(sql)
    assert verify_audit().ok is False


def test_the_command_prints_json_and_exits_by_the_result(three_entries, capsys):
    call_command("verify_audit", "--json")
    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.django_db(transaction=True)
def test_an_entry_needs_a_transaction():
    with pytest.raises(transaction.TransactionManagementError):
        record_audit("tested", actor=None, subject="thing:1")
