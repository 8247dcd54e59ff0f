"""What the factory keeps about one person."""

from __future__ import annotations

from collections.abc import Iterator

from modelfactory.models import Model, Run
from openledger_site.accounts.known import Row, columns
from openledger_site.accounts.models import User


def known_about(user: User) -> Iterator[Row]:
    yield from columns(
        "training run", Run.objects.filter(builder=user), "public_id", "name", "goal", "created_at"
    )
    yield from columns(
        "model", Model.objects.filter(owner=user),
        "slug", "name", "card", "visibility", "adapter_digest", "published_at",
    )  # fmt: skip
