"""What last month would have looked like under other numbers, from the settlements themselves.

Nothing here is written. Sums are exact to the wei: each answer's parts are cut as `split_fee` cuts
them. Only one's own earnings are scaled line by line, which can be off by one wei a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.models import F, Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from openledger_site.accounts.models import User
from rewards.models import EarningLine, Settlement
from rewards.models.settlements import PARTS_PER_MILLION

DAYS = 30
NAMES = (
    "Contributors",
    "Contributors' reserve",
    "Builders",
    "Stakers",
    "Platform",
    "Rounding",
    "Makers of agents",
)


@dataclass(frozen=True)
class SplitLine:
    """One receiver's month in wei: as it was, and as it would have been."""

    label: str
    before_wei: int
    after_wei: int

    @property
    def change_wei(self) -> int:
        return self.after_wei - self.before_wei


@dataclass(frozen=True)
class SplitSimulation:
    """`own` is what the reader earned; None for somebody who is not signed in."""

    answers: int
    fee_wei: int
    lines: tuple[SplitLine, ...]
    own: SplitLine | None


@dataclass(frozen=True)
class HoldingSimulation:
    """Refunds of the month, and how many of them would have come too late."""

    answers: int
    refunds: int
    too_late: int
    too_late_wei: int
    held_now_wei: int


_SPLIT = """
    WITH month AS (
        SELECT *, div(shared_wei * %(contributors)s, %(whole)s) AS contributors,
               div(shared_wei * %(builder)s, %(whole)s) AS builder,
               div(shared_wei * %(stakers)s, %(whole)s) AS stakers,
               div(shared_wei * %(platform)s, %(whole)s) AS platform
          FROM rewards_settlement CROSS JOIN LATERAL (SELECT fee_wei - maker_wei AS shared_wei) s
         WHERE refund_id IS NULL AND fee_wei > 0
           AND created_at > now() - %(days)s * interval '1 day'
    )
    SELECT count(*), coalesce(sum(fee_wei), 0), coalesce(sum(contributors_wei), 0),
           coalesce(sum(reserve_wei), 0), coalesce(sum(builder_wei), 0),
           coalesce(sum(stakers_wei), 0), coalesce(sum(platform_wei), 0),
           coalesce(sum(dust_wei), 0), coalesce(sum(maker_wei), 0),
           coalesce(sum(contributors) FILTER (WHERE contributors_wei > 0), 0),
           coalesce(sum(contributors) FILTER (WHERE contributors_wei = 0), 0),
           coalesce(sum(builder) FILTER (WHERE builder_wei > 0), 0),
           coalesce(sum(stakers), 0),
           coalesce(sum(platform), 0) + coalesce(sum(builder) FILTER (WHERE builder_wei = 0), 0),
           coalesce(sum(shared_wei - contributors - builder - stakers - platform), 0),
           coalesce(sum(maker_wei), 0)
      FROM month
"""


def _month_ago() -> CombinedExpression:
    return Now() - timedelta(days=DAYS)


def simulate_split(shares_bps: Sequence[int], reader: User | None) -> SplitSimulation:
    """Last month's fees cut by other shares (contributors, builder, stakers, platform).

    An answer without attributable sources pays the reserve, one by a base model pays its builder's
    part to the platform, and the maker of an agent keeps what was asked on top, as they did.
    """
    ppm = [share * 100 for share in shares_bps]
    names = ("contributors", "builder", "stakers", "platform")
    given = dict(zip(names, ppm, strict=True)) | {"whole": PARTS_PER_MILLION, "days": DAYS}
    with connection.cursor() as cursor:
        cursor.execute(_SPLIT, given)
        answers, fee_wei, *parts = (int(value) for value in cursor.fetchone())
    count = len(NAMES)
    lines = tuple(
        SplitLine(*line) for line in zip(NAMES, parts[:count], parts[count:], strict=True)
    )
    own = _own(reader, contributors_ppm=ppm[0], builder_ppm=ppm[1]) if reader else None
    return SplitSimulation(answers, fee_wei, lines, own)


def _own(reader: User, *, contributors_ppm: int, builder_ppm: int) -> SplitLine:
    lines = EarningLine.objects.filter(user=reader, settlement__created_at__gt=_month_ago())
    sums = lines.exclude(state=EarningLine.State.REFUNDED).values_list(
        "role",
        "settlement__parameters__contributors_ppm",
        "settlement__parameters__builder_ppm",
    )
    before = after = 0
    for role, old_contributors, old_builder, wei in sums.annotate(wei=Sum("amount_wei")):
        new, old = {
            EarningLine.Role.BUILDER: (builder_ppm, old_builder),
            EarningLine.Role.MAKER: (1, 1),  # not cut, so no vote changes it
        }.get(role, (contributors_ppm, old_contributors))
        before += int(wei)
        after += int(wei) * new // old
    return SplitLine("You", before, after)


def simulate_holding(seconds: int) -> HoldingSimulation:
    """How many of last month's refunds would have been refused with earnings held for `seconds`."""
    month = Settlement.objects.filter(fee_wei__gt=0, created_at__gt=_month_ago())
    refunded = month.filter(refund__isnull=False)
    late = refunded.filter(refund__created_at__gt=F("created_at") + timedelta(seconds=seconds))
    held = EarningLine.objects.filter(state=EarningLine.State.HOLDING)
    return HoldingSimulation(
        answers=month.count(),
        refunds=refunded.count(),
        too_late=late.count(),
        too_late_wei=int(late.aggregate(wei=Sum("fee_wei"))["wei"] or 0),
        held_now_wei=int(held.aggregate(wei=Sum("amount_wei"))["wei"] or 0),
    )
