"""How far a contributor is trusted in one Datanet: earned by approved rows, lost by rejected ones.

Every decided row counts ``0.5 ** (days since it was sent / 180)``. The score is the lower end of
the 95 % interval (Wilson) of the approved share: trusted from .8, known from .5, else new. Whoever
reviews a Datanet is trusted in it. Nothing is stored, so nothing has to be taken away by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Case, DurationField, ExpressionWrapper, F, FloatField, Sum, Value, When
from django.db.models.functions import Extract, Now, Power

from datanets.agreement import share_at_least
from datanets.models import Datanet, Membership, Record

HALF_LIFE_DAYS = 180
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


def trust_in(datanet: Datanet, contributor_ids: Iterable[int]) -> dict[int, Trust]:
    """By contributor: two queries for any number of people."""
    wanted = set(contributor_ids)
    reviewing = set(
        Membership.objects.filter(
            datanet=datanet, user__in=wanted, role__in=Membership.REVIEWING
        ).values_list("user_id", flat=True)
    )
    age = ExpressionWrapper(Now() - F("contribution__created_at"), output_field=DurationField())
    half_lives = Extract(age, "epoch", output_field=FloatField()) / (HALF_LIFE_DAYS * 86_400.0)
    weight = Power(Value(0.5), half_lives, output_field=FloatField())
    rows = (
        Record.objects.filter(
            datanet=datanet,
            contribution__contributor__in=wanted,
            state__in=[Record.State.APPROVED, Record.State.REJECTED],
        )
        .order_by()
        .values("contribution__contributor")
        .annotate(
            approved=Sum(Case(When(state=Record.State.APPROVED, then=weight), default=0.0)),
            decided=Sum(weight),
        )
        .values_list("contribution__contributor", "approved", "decided")
    )
    found = {person: (approved, decided - approved) for person, approved, decided in rows}
    return {
        person: Trust(*found.get(person, (0.0, 0.0)), reviews_here=person in reviewing)
        for person in wanted
    }
