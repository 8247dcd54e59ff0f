"""Whether a Datanet takes rows, and how many of one person: more, the further they are trusted."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.utils import timezone

from datanets.models import Contribution, Datanet
from datanets.selectors.access import keepers
from datanets.selectors.trust import Level, trust_in
from datanets.services.errors import NobodyKeepsIt, TooManyRows
from openledger_site.accounts.models import User

KNOWN_FACTOR = 10


def refuse_unkept(datanet: Datanet) -> None:
    """Raises `NobodyKeepsIt` (409) where owner and curators have left: nobody would review rows."""
    if not keepers().filter(datanet=datanet).exists():
        raise NobodyKeepsIt()


def refuse_too_many(datanet: Datanet, contributor: User) -> None:
    """Raises `TooManyRows` (429) once a day's rows or an hour's contributions are used up.

    Withdrawn contributions count: else one could send, withdraw and send again without end.
    """
    level = trust_in(datanet, [contributor.pk])[contributor.pk].level
    if level == Level.TRUSTED:
        return
    factor = KNOWN_FACTOR if level == Level.KNOWN else 1
    now = timezone.now()
    sent = Contribution.objects.filter(
        datanet=datanet, contributor=contributor, created_at__gt=now - timedelta(days=1)
    ).aggregate(
        rows=Sum("rows_accepted", default=0),
        in_an_hour=Count("pk", filter=Q(created_at__gt=now - timedelta(hours=1))),
    )
    rows_max = datanet.newcomer_rows_a_day * factor
    if sent["rows"] >= rows_max:
        raise TooManyRows(
            f"You sent {sent['rows']:,} rows here in a day; at this level {rows_max:,} are taken."
            " Come back tomorrow: approved rows raise the limit.",
            limit=rows_max,
        )
    contributions_max = settings.CONTRIBUTIONS_AN_HOUR * factor
    if sent["in_an_hour"] >= contributions_max:
        raise TooManyRows(
            f"You sent {sent['in_an_hour']} contributions here within an hour; {contributions_max}"
            " are taken. Put rows into one file, or wait an hour.",
            limit=contributions_max,
        )
