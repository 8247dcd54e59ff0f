"""The books of a day: closed once, chained, anchored, and never written into again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from openledger_site.accounts.models import User
from rewards.models import Account, Anchor, DailyClosing, Entry, Transaction
from rewards.services import close_books, reconcile
from rewards.services.closings import DAY, differing_days
from rewards.services.ledger import post, system_account, user_account
from rewards.tests.conftest import OPEN

TODAY = datetime.now(UTC).date()
pytestmark = pytest.mark.django_db


def posted(user: User, key: str, amount_wei: int = OPEN) -> Transaction:
    custody = system_account(Account.Kind.CUSTODY)
    legs = [(custody, -amount_wei), (user_account(user, Account.Kind.SPENDABLE), amount_wei)]
    return post(key=key, kind="deposit", legs=legs, reason="Deposit")


def rewritten(sql: str, *values: object) -> None:
    """What only somebody with the database in hand can do: past all triggers."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what is to be checked at commit, now
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, values)
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def moved_back(row: Transaction, days: int) -> date:
    rewritten(
        "UPDATE rewards_transaction SET created_at = now() - make_interval(days => %s)"
        " WHERE id = %s",
        days,
        row.pk,
    )
    return TODAY - timedelta(days=days)


@pytest.fixture
def three_days(consumer: User) -> list[DailyClosing]:
    """Three days ago two postings, the day after none, yesterday one."""
    for key, days in (("a", 3), ("b", 3), ("c", 1)):
        moved_back(posted(consumer, key), days)
    return close_books()


def test_each_day_that_is_over_is_closed_once(three_days: list[DailyClosing]) -> None:
    found = [(closing.day, closing.transactions, closing.entries) for closing in three_days]
    assert found == [(TODAY - 3 * DAY, 2, 4), (TODAY - 2 * DAY, 0, 0), (TODAY - DAY, 1, 2)]
    assert [closing.moved_wei for closing in three_days] == [2 * OPEN, 0, OPEN]
    assert three_days[2].balances_wei == {"custody": str(-3 * OPEN), "spendable": str(3 * OPEN)}
    assert close_books() == []


def test_nothing_is_closed_before_anything_was_posted_and_today_stays_open(consumer: User) -> None:
    assert close_books() == []
    posted(consumer, "a")
    assert close_books() == []


def test_digests_are_chained_and_anchored_where_something_was_posted(
    three_days: list[DailyClosing],
) -> None:
    assert len({closing.digest for closing in three_days}) == 3
    assert [closing.previous for closing in three_days] == [None, *three_days[:2]]
    anchored = dict(Anchor.objects.values_list("subject", "root"))
    assert anchored == {
        closing.subject: "0x" + closing.digest for closing in (three_days[0], three_days[2])
    }
    page = Client().get("/rewards/explorer/days/").content.decode()
    assert three_days[2].digest in page
    assert "Books of" in Client().get("/rewards/explorer/anchors/").content.decode()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE rewards_entry SET amount_wei = amount_wei * 2",
        "UPDATE rewards_transaction SET key = 'another' WHERE key = 'c'",
        "DELETE FROM rewards_entry WHERE id = (SELECT max(id) FROM rewards_entry)",
        "UPDATE rewards_dailyclosing SET balances_wei = '{}'",
    ],
)
def test_whoever_rewrites_a_closed_day_is_found_out(
    three_days: list[DailyClosing], sql: str
) -> None:
    assert differing_days() == []
    call_command("verify_closings", stdout=(said := StringIO()))
    assert "3 closed days stand" in said.getvalue()
    rewritten(sql)
    assert any(str(TODAY - DAY) in problem for problem in differing_days())
    assert reconcile().problems["I9"]
    with pytest.raises(CommandError):
        call_command("verify_closings")


def test_an_earlier_day_is_found_by_reading_all(three_days: list[DailyClosing]) -> None:
    first = Entry.objects.order_by("pk").first()
    assert first is not None
    rewritten("UPDATE rewards_entry SET amount_wei = amount_wei + 1 WHERE id = %s", first.pk)
    assert any(str(TODAY - 3 * DAY) in problem for problem in differing_days())


def test_a_closing_is_never_changed(three_days: list[DailyClosing]) -> None:
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        DailyClosing.objects.update(transactions=9)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        DailyClosing.objects.all()[0].delete()


def test_a_clock_that_went_back_writes_into_no_closed_day(
    consumer: User, three_days: list[DailyClosing]
) -> None:
    row = Transaction(
        key="late", kind="deposit", reason="Late", created_at=datetime.now(UTC) - 2 * DAY
    )
    legs = [(system_account(Account.Kind.CUSTODY), -1), (system_account(Account.Kind.DUST), 1)]
    with transaction.atomic():
        row.save()
        Entry.objects.bulk_create(
            Entry(transaction=row, account=account, amount_wei=wei) for account, wei in legs
        )
    row.refresh_from_db()
    assert row.created_at == datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    assert differing_days() == []


@pytest.fixture
def other_session(django_db_setup: None) -> Iterator[psycopg.Connection]:
    given = connection.get_connection_params()
    keep = ("dbname", "host", "port", "user", "password")
    with psycopg.connect(**{name: given[name] for name in keep if given.get(name)}) as session:
        yield session


@pytest.mark.django_db(transaction=True)
def test_a_day_waits_for_transactions_that_began_in_it(
    consumer: User, other_session: psycopg.Connection
) -> None:
    posted(consumer, "a")
    tomorrow = TODAY + DAY
    other_session.execute("SELECT 1")  # under way since today
    assert close_books(until=tomorrow) == []
    other_session.rollback()
    assert [closing.day for closing in close_books(until=tomorrow)] == [TODAY]
