"""Everything that the site keeps about one person, as one file (GDPR, articles 15 and 20).

As with closing an account, each app says itself what it knows and registers here when it starts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from allauth.account.models import EmailAddress
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from openledger_site.accounts.models import User
from openledger_site.core.models import AuditEntry

Row = tuple[str, dict[str, Any]]
"""What it is ("wallet"), and its columns."""
Source = Callable[[User], Iterator[Row]]
ROWS_AT_ONCE = 1_000
_sources: dict[str, Source] = {}


def register_known(name: str, source: Source) -> None:
    """Registering a name again replaces it."""
    _sources[name] = source


def columns(what: str, found: QuerySet[Any], *names: str) -> Iterator[Row]:
    """The named columns of each row, a thousand rows at a time."""
    for row in found.order_by("pk").values(*names).iterator(chunk_size=ROWS_AT_ONCE):
        yield what, row


def known_of(user: User) -> Iterator[str]:
    """A JSON list in pieces, an object a line; `what` says what each object is."""
    yield "["
    for number, (what, row) in enumerate(_rows_of(user)):
        text = json.dumps({"what": what, **row}, cls=DjangoJSONEncoder, ensure_ascii=False)
        yield (",\n" if number else "\n") + text
    yield "\n]\n"


def _rows_of(user: User) -> Iterator[Row]:
    yield from columns(
        "account", User.objects.filter(pk=user.pk),
        "public_id", "email", "display_name", "date_joined", "last_login",
    )  # fmt: skip
    yield from columns(
        "email address", EmailAddress.objects.filter(user=user), "email", "verified", "primary"
    )
    yield from columns(
        "wallet", user.wallets.all(), "address", "chain_id", "linked_at", "unlinked_at"
    )
    yield from columns(
        "API key", user.api_keys.all(),
        "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    for source in _sources.values():
        yield from source(user)
    entries = AuditEntry.objects.filter(actor=f"user:{user.pk}")
    yield from columns("entry of the audit log", entries, "at", "action", "subject", "data")
