"""The card of a Datanet, and how complete its page is."""

from __future__ import annotations

from datanets.completeness import Completeness, Facts, completeness
from datanets.facets import UNKNOWN, Counts
from datanets.models import Datanet, DatanetCard, Record


def card_of(datanet: Datanet) -> DatanetCard | None:
    return DatanetCard.objects.filter(datanet=datanet.pk).first()


def completeness_of(datanet: Datanet, card: DatanetCard | None, counts: Counts) -> Completeness:
    """`counts` are those that the page shows; the caller has checked the right to curate."""
    rows = Record.objects.filter(datanet=datanet.pk)
    accepted = rows.filter(state=Record.State.APPROVED)
    public = datanet.visibility == Datanet.Visibility.PUBLIC
    return completeness(
        Facts(
            card={} if card is None else dict(vars(card)),
            guidelines=datanet.guidelines,
            accepted_rows=counts.rows,
            contributors=len(counts.by["contributor"]),
            versions=datanet.versions.count(),
            rows_wait=rows.filter(state=Record.State.PENDING).exists(),
            rows_of_known_source=counts.rows
            - max(counts.by["source"][UNKNOWN], counts.by["method"][UNKNOWN]),
            has_samples=accepted.filter(is_sample=True).exists() or (public and counts.rows > 0),
        )
    )
