"""What Datanets keep about one person. The text of their rows is on the contributions' pages."""

from __future__ import annotations

from collections.abc import Iterator

from datanets.models import AccessGrant, Contribution, Datanet, Membership, Review
from openledger_site.accounts.known import Row, columns
from openledger_site.accounts.models import User


def known_about(user: User) -> Iterator[Row]:
    yield from columns(
        "Datanet", Datanet.objects.filter(owner=user), "slug", "name", "description", "created_at"
    )
    yield from columns(
        "role in a Datanet", Membership.objects.filter(user=user), "datanet__slug", "role"
    )
    yield from columns(
        "contribution", Contribution.objects.filter(contributor=user),
        "public_id", "datanet__slug", "title", "filename", "file_digest", "size_bytes", "licence",
        "agreement_version", "state", "rows_accepted", "rows_rejected", "created_at",
    )  # fmt: skip
    yield from columns(
        "request for access", AccessGrant.objects.filter(user=user),
        "datanet__slug", "right", "purpose", "answers", "state", "answer", "created_at",
    )  # fmt: skip
    yield from columns(
        "review", Review.objects.filter(reviewer=user), "record__public_id", "verdict"
    )
