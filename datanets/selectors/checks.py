"""What the checks said, for those who may know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from datanets.models import Contribution, Datanet, Finding, PersonalDatum, Record
from datanets.selectors.access import records_visible_to, reviewable_by, waiting_for
from datanets.selectors.counts import counted

PLACES_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding with the record it points at, or None when this person may not see that one."""

    finding: Finding
    match: Record | None


def remarks_on(user: Any, record: Record, *, reviews: bool | None = None) -> list[Remark]:
    """For the record's contributor and the Datanet's reviewers; nothing for others.

    A contributor is not told of a match that they may not see: it would tell of a private row.
    `reviews` says that this person reviews the Datanet, when the caller has asked already.
    """
    if reviews is None:
        reviews = reviewable_by(user).filter(pk=record.datanet_id).exists()
    if not reviews and record.contribution.contributor_id != user.pk:
        return []
    findings = list(record.findings.all())
    pks = {finding.match_id for finding in findings if finding.match_id}
    visible = records_visible_to(user).filter(pk__in=pks).select_related("datanet")
    matches = {match.pk: match for match in visible} if pks else {}
    return [
        Remark(finding, matches.get(finding.match_id or 0))
        for finding in findings
        if reviews or finding.match_id is None or finding.match_id in matches
    ]


def flag_counts(datanet: Datanet, user: Any) -> dict[str, int] | None:
    """How many rows that wait for this reviewer carry each flag; None where too many wait."""
    waiting = waiting_for(user, datanet)
    if counted(waiting) is None:
        return None
    rows = (
        Finding.objects.filter(record__in=waiting.values("pk"))
        .values("rule")
        .annotate(rows=Count("record", distinct=True))
    )
    return {row["rule"]: row["rows"] for row in rows.order_by("-rows", "rule")}


def personal_data_of(contribution: Contribution) -> tuple[dict[str, int], list[PersonalDatum]]:
    """Counts by kind, and the first places; the caller has checked that it is their own."""
    places = contribution.personal_data.all()
    rows = places.order_by("kind").values_list("kind").annotate(places=Count("pk"))
    return dict(rows), list(places[:PLACES_SHOWN])
