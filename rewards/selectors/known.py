"""What the books keep about one person."""

from __future__ import annotations

from collections.abc import Iterator

from openledger_site.accounts.known import Row, columns
from openledger_site.accounts.models import User
from rewards.models import EarningLine, RefundRequest, Relay, Reputation, SlashAppeal, Withdrawal
from rewards.selectors.money import claims_of, deposits_of, statement_rows


def known_about(user: User) -> Iterator[Row]:
    entries = statement_rows(user)
    names = next(entries)
    for entry in entries:
        yield "entry of the statement", dict(zip(names, entry, strict=True))
    yield from columns(
        "earning", EarningLine.objects.filter(user=user),
        "role", "state", "amount_wei", "settlement__reason", "settlement__created_at",
    )  # fmt: skip
    yield from columns(
        "deposit", deposits_of(user), "address", "amount_wei", "state", "transaction_hash"
    )
    yield from columns(
        "withdrawal", Withdrawal.objects.filter(user=user),
        "public_id", "address", "amount_wei", "state", "created_at",
    )  # fmt: skip
    yield from columns(
        "claim", claims_of(user), "address", "amount_wei", "state", "transaction_hash"
    )
    yield from columns(
        "transaction sent by the site", Relay.objects.filter(user=user),
        "public_id", "action", "state", "created_at",
    )  # fmt: skip
    yield from columns("reputation", Reputation.objects.filter(user=user), "score", "measured_at")
    yield from columns(
        "appeal of a slash", SlashAppeal.objects.filter(by=user), "case__public_id", "words"
    )
    yield from columns(
        "request for a refund", RefundRequest.objects.filter(asked_by=user),
        "public_id", "reason", "words", "created_at",
    )  # fmt: skip
