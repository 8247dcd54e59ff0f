"""Closing the books of each day, and computing what was closed again.

A day is closed once no database transaction is under way that began in it: a posting carries the
time at which its transaction began, so nothing can be added afterwards. Should the server's clock
go back, a trigger dates postings after the last closed day.

    digest(day) = SHA-256(digest(day before) + line + line + …), 32 zero bytes before the first day
    a posting's line: "public_id TAB kind TAB key TAB time\\n", in the order of posting
    then a line for each of its entries: "account TAB wei\\n"

Each digest is anchored on chain under `books:DAY`: from then on nobody, whoever runs the site, can
write an earlier posting anew without the chain telling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection, transaction

from rewards.models import DailyClosing, Transaction
from rewards.services.anchors import anchor_root
from rewards.services.chain import stand_in_line

DAY = timedelta(days=1)
CLOSING_LOCK = 0x0A0D1C
DAYS_AT_ONCE = 400
GRACE_SECONDS = 300
_LEGS = """
    SELECT t.public_id, t.kind, t.key, t.created_at, a.code, a.kind, e.amount_wei
      FROM rewards_transaction t
      JOIN rewards_entry e ON e.transaction_id = t.id
      JOIN rewards_account a ON a.id = e.account_id
     WHERE t.created_at >= %s AND t.created_at < %s
     ORDER BY t.id, e.id
"""


@dataclass
class DayBook:
    """What one day's postings come to."""

    transactions: int = 0
    entries: int = 0
    moved_wei: int = 0
    by_kind_wei: dict[str, int] = field(default_factory=dict)
    digest: str = ""


def close_books(until: date | None = None) -> list[DailyClosing]:
    """Close each day that is over and not closed, up to but without `until` (today, in UTC).

    Stops before a day that a transaction under way may still add to. Safe to run at any time.
    """
    closed: list[DailyClosing] = []
    for _ in range(DAYS_AT_ONCE):
        with transaction.atomic():
            stand_in_line(CLOSING_LOCK)
            last = DailyClosing.objects.first()
            day = last.day + DAY if last else _first_day()
            if day is None or day >= (until or _today()) or not _is_over(day):
                break
            closed.append(_close(day, last))
    return closed


def _close(day: date, last: DailyClosing | None) -> DailyClosing:
    book = read_day(day, last.digest if last else "")
    closing = DailyClosing.objects.create(
        day=day,
        transactions=book.transactions,
        entries=book.entries,
        moved_wei=book.moved_wei,
        balances_wei=_balances(last, book),
        digest=book.digest,
        previous=last,
    )
    if book.transactions:
        root = bytes.fromhex(book.digest)
        anchor_root(subject=closing.subject, root=root, count=book.transactions)
    return closing


def _balances(last: DailyClosing | None, book: DayBook) -> dict[str, str]:
    before = {kind: int(wei) for kind, wei in last.balances_wei.items()} if last else {}
    kinds = sorted({*before, *book.by_kind_wei})
    return {kind: str(before.get(kind, 0) + book.by_kind_wei.get(kind, 0)) for kind in kinds}


def read_day(day: date, previous_digest: str) -> DayBook:
    """The day's postings as they stand now; `previous_digest` in hex, empty for the first day."""
    book, running = DayBook(), hashlib.sha256(bytes.fromhex(previous_digest) or bytes(32))
    posting = None
    for public_id, kind, key, created_at, account, account_kind, amount in _legs_of(day):
        if public_id != posting:
            at = created_at.astimezone(UTC).isoformat(timespec="microseconds")
            running.update(f"{public_id}\t{kind}\t{key}\t{at}\n".encode())
            posting = public_id
            book.transactions += 1
        wei = int(amount)
        running.update(f"{account}\t{wei}\n".encode())
        book.entries += 1
        book.moved_wei += max(0, wei)
        book.by_kind_wei[account_kind] = book.by_kind_wei.get(account_kind, 0) + wei
    book.digest = running.hexdigest()
    return book


def _legs_of(day: date) -> Iterator[tuple[Any, ...]]:
    begin = datetime.combine(day, time.min, UTC)
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(_LEGS, [begin, begin + DAY])
        yield from cursor


def differing_days(newest: int | None = None) -> list[str]:
    """Closed days that do not stand as they were closed; the `newest` few, or all of them."""
    problems = []
    for closing in DailyClosing.objects.select_related("previous")[:newest]:
        earlier = closing.previous.digest if closing.previous else ""
        book = read_day(closing.day, earlier)
        if book.digest != closing.digest:
            problems.append(f"{closing.day}: the postings are not those that were closed")
        if _balances(closing.previous, book) != closing.balances_wei:
            problems.append(f"{closing.day}: the balances do not follow from the day before")
    return problems


def _first_day() -> date | None:
    first = Transaction.objects.order_by("created_at").values_list("created_at", flat=True).first()
    return first.astimezone(UTC).date() if first else None


def _today() -> date:
    """A moment late: a transaction is seen by others a little after it began."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ((now() - make_interval(secs => %s)) AT TIME ZONE 'UTC')::date",
            [GRACE_SECONDS],
        )
        today: date = cursor.fetchone()[0]
    return today


def _is_over(day: date) -> bool:
    """Whether no other session's transaction began before the day's end."""
    end = datetime.combine(day, time.min, UTC) + DAY
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database() AND xact_start < %s)"
            " AND NOT EXISTS (SELECT 1 FROM pg_prepared_xacts WHERE database = current_database())",
            [end],
        )
        over: bool = cursor.fetchone()[0]
    return over
