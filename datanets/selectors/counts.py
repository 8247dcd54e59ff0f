"""Counts of rows by facet: of a version from its summary, of accepted rows by looking at them."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, Exists, Func, IntegerField, OuterRef, QuerySet, Value

from datanets.facets import LENGTH_EDGES, UNKNOWN, Counts
from datanets.models import Contribution, Datanet, Record, Version, VersionRecord, VersionSummary

COUNTED_MAX = 50_000
"""Accepted rows that are not in a version are counted among the newest so many."""


class _Bucket(Func):
    function = "width_bucket"
    output_field = IntegerField()


def count_rows_by_facet(rows: QuerySet[Record]) -> Counts:
    """One pass over the rows, folded here by facet; what a bucket is says `datanets.facets`."""
    edges = Value(list(LENGTH_EDGES), output_field=ArrayField(IntegerField()))
    groups = (
        rows.order_by()
        .values("contribution_id", "kind", "language", "flags", bucket=_Bucket("characters", edges))
        .annotate(rows=Count("pk"))
    )
    counts = Counts()
    by_contribution: dict[int, int] = {}
    for group in groups.iterator(chunk_size=5_000):
        number = group["rows"]
        counts.rows += number
        counts.by["length"][str(group["bucket"])] += number
        counts.by["kind"][group["kind"]] += number
        counts.by["language"][group["language"] or UNKNOWN] += number
        for flag in group["flags"] or [UNKNOWN]:
            counts.by["label"][flag] += number
        pk = group["contribution_id"]
        by_contribution[pk] = by_contribution.get(pk, 0) + number
    _count_owners(counts, by_contribution)
    return counts


def _count_owners(counts: Counts, by_contribution: dict[int, int]) -> None:
    owners = Contribution.objects.filter(pk__in=by_contribution)
    for pk, licence, contributor in owners.values_list("pk", "licence", "contributor_id"):
        counts.by["licence"][licence] += by_contribution[pk]
        counts.by["contributor"][str(contributor)] += by_contribution[pk]


def rows_of_version(version: Version) -> QuerySet[Record]:
    """The version's rows that nobody withdrew since; no version holds any other."""
    entries = VersionRecord.objects.filter(version=version.pk, record=OuterRef("pk"))
    return Record.objects.filter(
        Exists(entries), datanet=version.datanet_id, state=Record.State.APPROVED
    )


def counts_of_version(version: Version) -> Counts:
    """From the summary that was made when it was cut; versions from before that are counted."""
    summary = VersionSummary.objects.filter(version=version.pk).first()
    if summary is not None:
        return Counts.from_json(summary.counts)
    return count_rows_by_facet(rows_of_version(version))


def counts_of_accepted(datanet: Datanet) -> Counts:
    """Of all accepted rows, or of the newest `COUNTED_MAX` where there are more."""
    rows = Record.objects.filter(datanet=datanet.pk, state=Record.State.APPROVED)
    newest = rows.order_by("-id").values_list("pk", flat=True)[COUNTED_MAX : COUNTED_MAX + 1]
    last = newest.first()
    return count_rows_by_facet(rows if last is None else rows.filter(pk__gt=last))


def counts_shown(datanet: Datanet) -> tuple[Counts, Version | None]:
    """What the Datanet's page tells: the newest version's counts, before that the accepted rows."""
    newest: Any = datanet.versions.order_by("-number").first()
    return (counts_of_version(newest) if newest else counts_of_accepted(datanet)), newest
