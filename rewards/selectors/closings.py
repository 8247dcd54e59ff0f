"""Closed days of the books: public, with the anchors of their digests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from rewards.models import Anchor, DailyClosing
from rewards.models.closings import SUBJECT_PREFIX


@dataclass(frozen=True)
class ClosedDay:
    closing: DailyClosing
    anchor: Anchor | None
    """None for a day without a posting: there is nothing to anchor."""


def closings() -> QuerySet[DailyClosing]:
    """Newest first."""
    return DailyClosing.objects.all()


def with_anchors(days: Iterable[DailyClosing]) -> list[ClosedDay]:
    """Each day with the anchor of its digest."""
    listed = list(days)
    subjects = [closing.subject for closing in listed]
    anchors = Anchor.objects.filter(subject__in=subjects).select_related("chain_transaction")
    found = {anchor.subject: anchor for anchor in anchors}
    return [ClosedDay(closing, found.get(closing.subject)) for closing in listed]


def closing_anchor_ids(user: Any) -> QuerySet[Any, Any]:
    """Everybody may see that a day was closed."""
    return Anchor.objects.filter(subject__startswith=SUBJECT_PREFIX).values("pk")


def describe_closing_anchors(user: Any, anchors: Collection[int]) -> dict[int, tuple[str, str]]:
    """Title and page of each anchor that is of a closed day."""
    rows = Anchor.objects.filter(pk__in=anchors, subject__startswith=SUBJECT_PREFIX)
    page = reverse("rewards:closing-list")
    told = {}
    for pk, subject in rows.values_list("pk", "subject"):
        day = date.fromisoformat(subject.removeprefix(SUBJECT_PREFIX))
        told[pk] = (f"Books of {day:%-d %b %Y}", f"{page}#{day}")
    return told
