"""The schedule of a grant, and what unlocks in which month. Whole seconds and wei, no floats.

The formula is that of OpenZeppelin's VestingWalletCliff (5.7.0), to the wei; `rewards/tests/
test_vesting_schedule.py` compares it with the contract on a chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True)
class Schedule:
    """When a grant unlocks: `start` in seconds since 1970, the others counted from it."""

    start: int
    cliff_seconds: int
    duration_seconds: int

    @property
    def cliff(self) -> int:
        return self.start + self.cliff_seconds

    @property
    def end(self) -> int:
        return self.start + self.duration_seconds

    def unlocked_wei(self, allocation_wei: int, at: int) -> int:
        """Of all that a wallet ever held, what is unlocked at `at`, in seconds since 1970."""
        if at < self.cliff:
            return 0
        if at >= self.end:
            return allocation_wei
        return allocation_wei * (at - self.start) // self.duration_seconds


@dataclass(frozen=True)
class UnlockMonth:
    """One calendar month (UTC): what unlocks in it, and all that is unlocked at its end."""

    month: date
    added_wei: int
    unlocked_wei: int


def unlocks_by_month(grants: Iterable[tuple[Schedule, int]]) -> list[UnlockMonth]:
    """Schedules with their wei; every month from the first start to the last end, none left out."""
    known = list(grants)
    if not known:
        return []
    month = _month_of(min(schedule.start for schedule, _ in known))
    last = _month_of(max(schedule.end for schedule, _ in known))
    months, before = [], 0
    while month <= last:
        end = _timestamp(_next(month))
        unlocked = sum(schedule.unlocked_wei(wei, end) for schedule, wei in known)
        months.append(UnlockMonth(month, unlocked - before, unlocked))
        month, before = _next(month), unlocked
    return months


def _month_of(timestamp: int) -> date:
    return datetime.fromtimestamp(timestamp, tz=UTC).date().replace(day=1)


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _timestamp(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
