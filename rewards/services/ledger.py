"""Posting to the books, and reserving money for an answer under way.

Accounts are locked in id order, so two postings never wait for each other in a circle. The key of
a posting is unique: a retry finds the first posting, whatever process or machine it comes from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from openledger_site.accounts.models import User
from openledger_site.core.errors import Conflict, DomainError, PaymentRequired
from openledger_site.core.money import format_open
from rewards.models import Account, Hold, Transaction

Kind = Account.Kind
Leg = tuple[Account, int]

HOLD_EXPIRES_SECONDS = 3_600
SYSTEM_CODES = {
    Kind.CUSTODY: "chain:custody",
    Kind.FEES: "platform:fees",
    Kind.RELAY: "relay:income",
    Kind.STAKERS: "stakers:pool",
    Kind.STAKERS_DUE: "stakers:due",
    Kind.WITHDRAWING: "withdrawals:due",
    Kind.RESERVE: "contributors:reserve",
    Kind.DUST: "dust",
    Kind.UNASSIGNED: "deposits:unassigned",
    Kind.REORG_DEBT: "reorg:debt",
}


class InsufficientFunds(PaymentRequired):
    code = "insufficient_funds"
    message = "Your balance does not cover this. Deposit OPEN, then try again."


class PostingDiffers(Conflict):
    code = "posting_differs"
    message = "This was booked before with other amounts."


class HoldResolved(Conflict):
    code = "hold_resolved"
    message = "This reservation was already used or freed."


class UnbalancedPosting(ValueError):
    """Legs that do not sum to zero, or fewer than two that move something: a bug of the caller."""


def system_account(kind: Account.Kind) -> Account:
    """One of the site's own accounts, opened on first use."""
    return Account.objects.get_or_create(code=SYSTEM_CODES[kind], defaults={"kind": kind})[0]


def user_account(user: User, kind: Account.Kind) -> Account:
    """A person's account of this kind, opened on first use."""
    code = f"user:{user.public_id}:{kind}"
    return Account.objects.get_or_create(code=code, defaults={"kind": kind, "owner": user})[0]


@dataclass(frozen=True)
class Posting:
    """What `post` takes, as a value, for `post_many`."""

    key: str
    kind: str
    legs: Sequence[Leg]
    reason: str
    source_url: str = ""


# A function of the database (migration 0013), so one round trip and no planning: it locks the
# accounts in id order, writes the key, posts the hold and writes the legs. Returns no row when the
# key was there before.
_POST = """
    SELECT id, created_at, written_by
      FROM rewards_post(%s::bigint[], %s::numeric[], %s, %s, %s, %s, %s, %s)
"""


def post(
    *,
    key: str,
    kind: str,
    legs: Sequence[Leg],
    reason: str,
    source_url: str = "",
    hold: Hold | None = None,
) -> Transaction:
    """Move wei between accounts, once per `key`; a repeat returns the first transaction.

    Legs on one account are added up, zero ones dropped. `hold` is posted with it. Raises
    `PostingDiffers` when the key stands for other legs, `InsufficientFunds` when a personal
    account would go below zero or below what it holds, `UnbalancedPosting` for a caller's mistake.
    """
    amounts = net_amounts(legs)
    row = Transaction(key=key, kind=kind, reason=reason, source_url=source_url)
    try:
        # One statement commits by itself, which spares BEGIN and COMMIT.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            is_new = _write(row, amounts, hold)
    except IntegrityError as refusal:
        if _lacks_funds(refusal):
            raise InsufficientFunds() from refusal
        raise
    return row if is_new else _posted_before(key, amounts)


def net_amounts(legs: Sequence[Leg]) -> dict[int, int]:
    """Wei by account id, in id order."""
    amounts: dict[int, int] = defaultdict(int)
    for account, amount_wei in legs:
        amounts[account.pk] += amount_wei
    net = {account_id: amounts[account_id] for account_id in sorted(amounts) if amounts[account_id]}
    if sum(net.values()) or len(net) < 2:
        raise UnbalancedPosting(f"{len(net)} legs that sum to {sum(net.values())} wei")
    return net


def _write(row: Transaction, amounts: dict[int, int], hold: Hold | None) -> bool:
    """Transaction and entries, and what the hold reserves; False when the key is taken."""
    values = [
        _array(amounts),
        _array(amounts.values()),
        str(row.public_id),
        row.key,
        row.kind,
        row.reason,
        row.source_url,
        hold.pk if hold is not None else None,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_POST, values)
        written = cursor.fetchone()
    if written is None:
        return False
    row.pk, row.created_at, row.written_by = written
    row._state.adding, row._state.db = False, connection.alias
    return True


def _array(numbers: Iterable[int]) -> str:
    """As PostgreSQL writes an array; psycopg takes a tenth of a posting's time over a list."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _lacks_funds(refusal: IntegrityError) -> bool:
    return "account_never_below_zero" in str(refusal) or "account_holds" in str(refusal)


def _posted_before(key: str, amounts: dict[int, int]) -> Transaction:
    row = Transaction.objects.get(key=key)
    if dict(row.entries.values_list("account_id", "amount_wei")) != amounts:
        raise PostingDiffers(where=key)
    return row


def lock_accounts(account_ids: Sequence[int]) -> dict[int, Account]:
    """The accounts as they stand, locked in id order until the caller's transaction ends."""
    locked = Account.objects.select_for_update(no_key=True).filter(pk__in=account_ids)
    return {account.pk: account for account in locked.order_by("pk")}


def place_hold(
    user: User,
    amount_wei: int,
    *,
    key: str,
    reason: str,
    expires_in_seconds: int = HOLD_EXPIRES_SECONDS,
) -> Hold:
    """Reserve wei of a person's balance, once per `key`. Raises `InsufficientFunds`."""
    if amount_wei <= 0:
        raise DomainError("Reserve an amount above zero.", code="amount_invalid", where="amount")
    with transaction.atomic():
        account = lock_accounts([user_account(user, Kind.SPENDABLE).pk]).popitem()[1]
        existing = Hold.objects.filter(key=key).first()
        if existing is not None:
            if (existing.account_id, existing.amount_wei) != (account.pk, amount_wei):
                raise PostingDiffers(where=key)
            return existing
        if account.available_wei < amount_wei:
            raise InsufficientFunds(
                f"This needs up to {format_open(amount_wei)} OPEN; you have"
                f" {format_open(account.available_wei)}. Deposit OPEN, then try again.",
                limit=account.available_wei,
            )
        expires_at = Now() + timedelta(seconds=expires_in_seconds)
        hold = Hold.objects.create(
            account=account, amount_wei=amount_wei, key=key, reason=reason, expires_at=expires_at
        )
        hold.refresh_from_db()
        return hold


def void_hold(hold: Hold) -> None:
    """Free what the hold reserves. Voiding twice is fine; a posted hold raises `HoldResolved`."""
    with transaction.atomic():
        row = Hold.objects.select_for_update().get(pk=hold.pk)
        if row.state == Hold.State.POSTED:
            raise HoldResolved()
        if row.state == Hold.State.PENDING:
            _void(row)
    hold.refresh_from_db()


def expire_holds(limit: int = 500) -> int:
    """Free holds whose time is over, so that no crash keeps anybody's money; return how many."""
    with transaction.atomic():
        overdue = list(
            Hold.objects.select_for_update(skip_locked=True)
            .filter(state=Hold.State.PENDING, expires_at__lt=Now())
            .order_by("account_id", "pk")[:limit]
        )
        for hold in overdue:
            _void(hold)
        return len(overdue)


def _void(hold: Hold) -> None:
    Hold.objects.filter(pk=hold.pk).update(state=Hold.State.VOIDED, resolved_at=Now())
