"""Many postings in one database transaction: each with a key of its own, each refused alone.

What a commit costs is paid once a batch, and a balance that many postings touch is moved once.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import IntegrityError, connection, transaction

from rewards.models import Account, Entry, Transaction
from rewards.services.ledger import (
    InsufficientFunds,
    Posting,
    PostingDiffers,
    UnbalancedPosting,
    lock_accounts,
    net_amounts,
)

Amounts = dict[int, int]  # account id → wei, in id order
Refusal = PostingDiffers | InsufficientFunds | UnbalancedPosting | IntegrityError
Outcome = Transaction | Refusal
TRIES_MAX = 5

_OPEN = """
    INSERT INTO rewards_transaction (public_id, key, kind, reason, source_url, written_by)
    SELECT public_id, key, kind, reason, source_url, 0
      FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[])
           AS new (public_id, key, kind, reason, source_url)
     ORDER BY key COLLATE "C"
        ON CONFLICT (key) DO NOTHING
    RETURNING key, id, created_at, written_by
"""
_ENTER = """
    INSERT INTO rewards_entry (transaction_id, account_id, amount_wei)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[])
"""


class _KeyTakenMeanwhile(Exception):
    """Another connection committed one of our keys after we had looked."""


def post_many(postings: Sequence[Posting]) -> list[Outcome]:
    """As `post` for one after the other, in one commit; the outcomes stand in the same order.

    An outcome is the transaction, or the exception that `post` would have raised for it. A refused
    posting leaves nothing behind and the rest of the batch stands. Callers look at every outcome:
    `raise_refusals` is for those who expect none.
    """
    for _ in range(TRIES_MAX):
        try:
            with transaction.atomic():
                return _Batch(postings).write()
        except _KeyTakenMeanwhile:
            continue  # it is there to be found now
    raise IntegrityError(f"keys of a batch were taken {TRIES_MAX} times while it was written")


def raise_refusals(outcomes: Sequence[Outcome]) -> list[Transaction]:
    """The transactions of a batch; raises the first refusal, which undoes the caller's own."""
    for outcome in outcomes:
        if not isinstance(outcome, Transaction):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Transaction)]


class _Batch:
    """Decides on the locked balances, in Python, what the database's own checks would say.

    They still have the last word: a difference would fail the whole batch, never pass.
    """

    def __init__(self, postings: Sequence[Posting]) -> None:
        self.postings = postings
        self.amounts: list[Amounts | None] = []
        self.outcomes: list[Outcome | None] = [None] * len(postings)
        self.new: dict[str, tuple[Transaction, Amounts]] = {}

    def write(self) -> list[Outcome]:
        for place, posting in enumerate(self.postings):
            try:
                self.amounts.append(net_amounts(posting.legs))
            except UnbalancedPosting as refusal:
                self.amounts.append(None)
                self.outcomes[place] = refusal
        touched = {account_id for amounts in self.amounts if amounts for account_id in amounts}
        self.books = lock_accounts(sorted(touched))
        self.balances = {key: int(account.balance_wei) for key, account in self.books.items()}
        self.earlier = self._written_before()
        for place, amounts in enumerate(self.amounts):
            if amounts is not None:
                self.outcomes[place] = self._decide(self.postings[place], amounts)
        if self.new:
            self._insert()
        return [outcome for outcome in self.outcomes if outcome is not None]

    def _written_before(self) -> dict[str, tuple[Transaction, Amounts]]:
        keys = [posting.key for posting in self.postings]
        rows = {row.pk: row for row in Transaction.objects.filter(key__in=keys)}
        found: dict[str, tuple[Transaction, Amounts]] = {
            row.key: (row, {}) for row in rows.values()
        }
        entries = Entry.objects.filter(transaction__in=rows) if rows else Entry.objects.none()
        for transaction_id, account_id, amount in entries.values_list(
            "transaction_id", "account_id", "amount_wei"
        ):
            found[rows[transaction_id].key][1][account_id] = int(amount)
        return found

    def _decide(self, posting: Posting, amounts: Amounts) -> Outcome:
        known = self.earlier.get(posting.key) or self.new.get(posting.key)
        if known is not None:
            return known[0] if known[1] == amounts else PostingDiffers(where=posting.key)
        refusal = self._refusal(amounts)
        if refusal is not None:
            return refusal
        for account_id, amount in amounts.items():
            self.balances[account_id] += amount
        row = Transaction(
            key=posting.key,
            kind=posting.kind,
            reason=posting.reason,
            source_url=posting.source_url,
        )
        self.new[posting.key] = row, amounts
        return row

    def _refusal(self, amounts: Amounts) -> Refusal | None:
        for account_id, amount in amounts.items():
            account = self.books.get(account_id)
            if account is None:
                return IntegrityError(f"account {account_id} does not exist")
            balance = self.balances[account_id] + amount
            if account.kind in Account.BELOW_ZERO:
                if balance > 0:
                    return IntegrityError("account_that_mirrors_never_above_zero")
            elif balance < account.held_wei:  # nothing is held but of what is spendable
                return InsufficientFunds()
        return None

    def _insert(self) -> None:
        rows = [row for row, _ in self.new.values()]
        with connection.cursor() as cursor:
            columns = ("public_id", "key", "kind", "reason", "source_url")
            cursor.execute(_OPEN, [[getattr(row, name) for row in rows] for name in columns])
            written = {key: rest for key, *rest in cursor.fetchall()}
            if len(written) < len(rows):
                raise _KeyTakenMeanwhile
            transactions: list[int] = []
            accounts: list[int] = []
            moved: list[str] = []
            for row, amounts in self.new.values():
                row.pk, row.created_at, row.written_by = written[row.key]
                row._state.adding, row._state.db = False, connection.alias
                for account_id, amount in amounts.items():
                    transactions.append(row.pk)
                    accounts.append(account_id)
                    moved.append(str(amount))
            cursor.execute(_ENTER, [transactions, accounts, moved])
