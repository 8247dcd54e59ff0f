"""The counts beside a version: made when it is cut, and less what is withdrawn."""

from __future__ import annotations

from django.db.models import QuerySet

from datanets.facets import Counts
from datanets.models import Record, Version, VersionSummary
from datanets.selectors.counts import count_rows_by_facet


def make_summary(version: Version, counts: Counts) -> VersionSummary:
    """Call when its entries are stored, in the same transaction; `counts` are those of its rows."""
    return VersionSummary.objects.create(version=version, counts=counts.as_json())


def take_out_of_summaries(records: QuerySet[Record]) -> None:
    """Take those of the rows that are still accepted out of every count.

    Call before they are emptied or rejected, with their Datanet locked, so that no version is cut
    meanwhile and counts them for ever.
    """
    own = records.filter(state=Record.State.APPROVED)
    summaries = VersionSummary.objects.filter(version__entries__record__in=own)
    pks = list(summaries.order_by("pk").values_list("pk", flat=True).distinct())
    for summary in VersionSummary.objects.select_for_update().filter(pk__in=pks).order_by("pk"):
        gone = count_rows_by_facet(own.filter(version_entries__version=summary.pk))
        summary.counts = Counts.from_json(summary.counts).without(gone).as_json()
        summary.save(update_fields=["counts"])
