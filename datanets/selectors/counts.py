"""Counts of rows by facet: of a version from its summary, of accepted rows by looking at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db.models import Count, Exists, Func, IntegerField, OuterRef, QuerySet, Value

from datanets.facets import LENGTH_EDGES, PROVENANCE, UNKNOWN, Counts
from datanets.models import Contribution, Datanet, Record, Version, VersionRecord, VersionSummary
from openledger_site.core.row_security import all_rows

COUNTED_MAX = 5_000
"""A page counts at most so many rows by itself."""


def so_many(rows: QuerySet[Any]) -> str:
    """How many they are, in digits; "5,000 or more" where counting on would make a page slow."""
    count = counted(rows)
    return f"{COUNTED_MAX:,} or more" if count is None else f"{count:,}"


def counted(rows: QuerySet[Any]) -> int | None:
    """How many they are; None where they are more than a page counts."""
    count = rows.order_by()[: COUNTED_MAX + 1].count()
    return count if count <= COUNTED_MAX else None


class _Bucket(Func):
    function = "width_bucket"
    output_field = IntegerField()


@all_rows("counts of a card are for whoever sees the card")
def count_rows_by_facet(rows: QuerySet[Record]) -> Counts:
    """One pass over the rows, folded here by facet; what a bucket is says `datanets.facets`."""
    edges = Value(list(LENGTH_EDGES), output_field=ArrayField(IntegerField()))
    groups = (
        rows.order_by()
        .values("contribution_id", "kind", "language", "flags", bucket=_Bucket("characters", edges))
        .annotate(rows=Count("pk"))
    )
    found = groups.values_list("contribution_id", "kind", "language", "flags", "bucket", "rows")
    return fold_groups(Group(*group) for group in found.iterator(chunk_size=5_000))


class Group(NamedTuple):
    """Rows that are alike in all that is counted; `bucket` is `facets.length_bucket`."""

    contribution: int
    kind: str
    language: str
    flags: Sequence[str]
    bucket: int
    rows: int


@all_rows("counts of a card are for whoever sees the card")
def fold_groups(groups: Iterable[Group]) -> Counts:
    counts = Counts()
    by_contribution: Counter[int] = Counter()
    for group in groups:
        counts.rows += group.rows
        counts.by["length"][str(group.bucket)] += group.rows
        counts.by["kind"][group.kind] += group.rows
        counts.by["language"][group.language or UNKNOWN] += group.rows
        for flag in group.flags or [UNKNOWN]:
            counts.by["label"][flag] += group.rows
        by_contribution[group.contribution] += group.rows
    _count_owners(counts, by_contribution)
    return counts


def _count_owners(counts: Counts, by_contribution: Mapping[int, int]) -> None:
    """Add what is the same for all rows of a contribution; rows by the contribution's key."""
    owners = Contribution.objects.filter(pk__in=by_contribution)
    for owner in owners.values("pk", "licence", "contributor_id", *PROVENANCE):
        rows = by_contribution[owner["pk"]]
        counts.by["licence"][owner["licence"]] += rows
        counts.by["contributor"][str(owner["contributor_id"])] += rows
        for name in PROVENANCE:
            counts.by[name][str(owner[name] or UNKNOWN)] += rows


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


@all_rows("counts of a card are for whoever sees the card")
def counts_of_accepted(datanet: Datanet) -> tuple[Counts, str]:
    """Of the accepted rows, and what they leave out, in words; "" when they are complete.

    More rows than `COUNTED_MAX` are not counted for a page: the newest version's counts stand for
    them, or the newest rows where there is no version.
    """
    rows = Record.objects.filter(datanet=datanet.pk, state=Record.State.APPROVED)
    beyond = rows.order_by("-id").values_list("pk", flat=True)[COUNTED_MAX : COUNTED_MAX + 1]
    last = next(iter(beyond), None)
    if last is None:
        return count_rows_by_facet(rows), ""
    newest: Any = datanet.versions.order_by("-number").first()
    if newest is not None:
        return counts_of_version(newest), f"Counted in version {newest.number}."
    newer = count_rows_by_facet(rows.filter(pk__gt=last))
    return newer, f"Counted among the newest {COUNTED_MAX:,} rows."


def counts_shown(datanet: Datanet) -> tuple[Counts, Version | None]:
    """What the Datanet's page tells: the newest version's counts, before that the accepted rows."""
    newest: Any = datanet.versions.order_by("-number").first()
    if newest is None:
        return counts_of_accepted(datanet)[0], None
    return counts_of_version(newest), newest
