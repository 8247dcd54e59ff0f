"""Make a Datanet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.crypto import get_random_string
from django.utils.text import slugify

from datanets.models import Datanet, Membership
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict

RESERVED_SLUGS = frozenset(
    {"api", "new", "contributions", "records", "versions", "grants", "second-looks"}
)


def create_datanet(
    *,
    owner: User,
    name: str,
    description: str,
    licence: str,
    guidelines: str = "",
    visibility: str = Datanet.Visibility.PUBLIC,
    left_out_rules: Sequence[str] = ("malware",),
) -> Datanet:
    """A new Datanet with its owner as first member; the slug follows the name and is unique.

    That of a private one cannot be guessed: else whoever takes the same name learns that it exists.
    """
    with transaction.atomic():
        datanet = _insert_with_free_slug(
            owner=owner,
            name=name,
            description=description,
            guidelines=guidelines,
            visibility=visibility,
            licence=licence,
            left_out_rules=list(left_out_rules),
        )
        Membership.objects.create(datanet=datanet, user=owner, role=Membership.Role.OWNER)
        record_audit("datanet.create", actor=owner, subject=f"datanet:{datanet.public_id}")
    return datanet


def set_access_questions(datanet: Datanet, questions: str) -> None:
    """What whoever asks for access answers from now on, one question a line."""
    datanet.access_questions = questions
    datanet.save(update_fields=["access_questions"])


def set_review_rules(
    *,
    datanet: Datanet,
    actor: User,
    votes_per_row: int,
    gold_every: int,
    newcomer_rows_a_day: int,
) -> None:
    """How rows are decided from now on; votes that were cast stand."""
    rules = {
        "votes_per_row": votes_per_row,
        "gold_every": gold_every,
        "newcomer_rows_a_day": newcomer_rows_a_day,
    }
    with transaction.atomic():
        Datanet.objects.filter(pk=datanet.pk).update(**rules)
        record_audit(
            "datanet.review_rules", actor=actor, subject=f"datanet:{datanet.public_id}", **rules
        )


def _insert_with_free_slug(**fields: Any) -> Datanet:
    stem = slugify(fields["name"])[:60] or "datanet"
    slug = f"{stem}-datanet" if stem in RESERVED_SLUGS else stem
    if fields["visibility"] == Datanet.Visibility.PRIVATE:
        slug = _unguessable(stem)
    for _ in range(5):
        try:
            with transaction.atomic():
                return Datanet.objects.create(slug=slug, **fields)
        except IntegrityError:
            slug = _unguessable(stem)
    raise Conflict("No free address for this name. Choose another name.", where="name")


def _unguessable(stem: str) -> str:
    return f"{stem}-{get_random_string(5, '0123456789abcdefghijkmnpqrstuvwxyz')}"
