"""What waits for a person in Datanets: for the front page of who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datanets.models import Contribution, Datanet
from datanets.selectors.access import curatable_by, review_queue, reviewable_by
from datanets.selectors.counts import so_many
from datanets.selectors.grants import waiting_requests

DATANETS_MAX = 10  # each is counted by itself


@dataclass(frozen=True, slots=True)
class Waiting:
    """Contributions that wait for who sent them; Datanets with rows to review, or requests."""

    contributions: list[Contribution]
    queues: list[tuple[Datanet, str]]
    requests: list[tuple[Datanet, int]]
    has_given: bool

    def __bool__(self) -> bool:
        return bool(self.contributions or self.queues or self.requests)


def what_waits_for(user: Any) -> Waiting:
    mine = Contribution.objects.filter(contributor=user.pk)
    undecided = mine.filter(undecided_since__isnull=False).select_related("datanet")
    reviewed = reviewable_by(user).order_by("-id")[:DATANETS_MAX]
    queues = [(datanet, so_many(review_queue(user, datanet))) for datanet in reviewed]
    curated = curatable_by(user).order_by("-id")[:DATANETS_MAX]
    requests = [(datanet, waiting_requests(datanet)) for datanet in curated]
    return Waiting(
        list(undecided.order_by("undecided_since")[:DATANETS_MAX]),
        [(datanet, count) for datanet, count in queues if count != "0"],
        [(datanet, count) for datanet, count in requests if count],
        mine.exists(),
    )
