"""Which anchors a person may see, told by the app that anchors: this app knows roots only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from rewards.models import Anchor


@dataclass(frozen=True)
class AnchorNames:
    """What an app above says of its anchors; `user` may be anonymous."""

    visible: Callable[[Any], QuerySet[Any, Any]]
    """Primary keys of the anchors that this person may see."""
    describe: Callable[[Any, Collection[int]], dict[int, tuple[str, str]]]
    """Title and address of the page of each visible one, by primary key."""


_named: list[AnchorNames] = []


def register_anchor_names(names: AnchorNames) -> None:
    """Let an app above say what its anchors are of, and to whom that may be shown."""
    _named.append(names)


def visible_anchors(user: Any) -> QuerySet[Anchor]:
    """Newest first. Hidden ones are left out here, so that no page or count can tell of them."""
    found = Anchor.objects.none()
    for names in _named:
        found = found | Anchor.objects.filter(pk__in=names.visible(user))
    return found.select_related("chain_transaction").order_by("-id")


def described(user: Any, anchors: Collection[Anchor]) -> list[tuple[Anchor, str, str]]:
    """Each anchor with the title and the address of the page of what it covers."""
    told: dict[int, tuple[str, str]] = {}
    for names in _named:
        told |= names.describe(user, [anchor.pk for anchor in anchors])
    return [(anchor, *told[anchor.pk]) for anchor in anchors if anchor.pk in told]
