"""How far a contributor is trusted in one Datanet: earned by approved rows, lost by rejected ones.

Every decided row counts ``0.5 ** (days since it was sent / 180)``. The score is the lower end of
the 95 % interval (Wilson) of the approved share: trusted from .8, known from .5, else new. Whoever
reviews a Datanet is trusted in it. Nothing is stored, so nothing has to be taken away by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models import Case, QuerySet, Sum, When

from datanets.agreement import share_at_least
from datanets.models import Datanet, Membership, Record
from rewards.reputation import HALF_LIFE_DAYS, DecidedRows
from rewards.selectors.reputation import People, faded

TRUSTED, KNOWN = 0.8, 0.5


class Level(StrEnum):
    NEW = "new"
    KNOWN = "known"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Trust:
    """Approved and rejected rows, weighted by age, and what follows from them."""

    approved: float
    rejected: float
    reviews_here: bool = False

    @property
    def score(self) -> float:
        """0 to 1."""
        return share_at_least(self.approved, self.approved + self.rejected)

    @property
    def level(self) -> Level:
        if self.reviews_here or self.score >= TRUSTED:
            return Level.TRUSTED
        return Level.KNOWN if self.score >= KNOWN else Level.NEW


def decided_rows(people: People) -> Iterator[tuple[int, DecidedRows]]:
    """What reviewers made of people's rows, by Datanet: evidence for their reputation."""
    by = ("contribution__contributor", "datanet__public_id")
    for person, datanet, approved, decided in _decided_rows(people, *by):
        yield person, DecidedRows(str(datanet), approved, decided - approved)


def _decided_rows(people: People, *by: str, **where: Any) -> QuerySet[Record, Any]:
    """(*by, approved, decided) of rows weighted by age."""
    weight = faded("contribution__created_at", HALF_LIFE_DAYS)
    rows = Record.objects.filter(state__in=[Record.State.APPROVED, Record.State.REJECTED], **where)
    if people is not None:
        rows = rows.filter(contribution__contributor__in=people)
    summed = (
        rows.order_by()
        .values(*by)
        .annotate(
            approved=Sum(Case(When(state=Record.State.APPROVED, then=weight), default=0.0)),
            decided=Sum(weight),
        )
    )
    found: QuerySet[Record, Any] = summed.values_list(*by, "approved", "decided")
    return found


def trust_in(datanet: Datanet, contributor_ids: Iterable[int]) -> dict[int, Trust]:
    """By contributor: two queries for any number of people."""
    wanted = set(contributor_ids)
    reviewing = set(
        Membership.objects.filter(
            datanet=datanet, user__in=wanted, role__in=Membership.REVIEWING
        ).values_list("user_id", flat=True)
    )
    rows = _decided_rows(wanted, "contribution__contributor", datanet=datanet)
    found = {person: (approved, decided - approved) for person, approved, decided in rows}
    return {
        person: Trust(*found.get(person, (0.0, 0.0)), reviews_here=person in reviewing)
        for person in wanted
    }
