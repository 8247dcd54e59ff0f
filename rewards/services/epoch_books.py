"""What one epoch pays, written by the database itself: one statement a table, however many people.

A million contributors are one INSERT into each table; nothing of them passes through Python but
the leaf list, which is read, hashed and written as a stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db import connection

from openledger_site.core.storage import store_file
from rewards.chain.contracts import Addresses
from rewards.merkle import MerkleTree, PayoutLeaves
from rewards.models import Transaction

ROWS_AT_ONCE = 10_000
LEAF_FILE_SIZE_MAX_BYTES = 1 << 34
STATEMENT_SECONDS_MAX = 600  # a request may not take as long; an epoch of a million people may

# Accounts are locked in id order, as every posting does. Who has several wallets is paid at the
# one that has been linked longest. One that was added to an account just now is not paid yet.
_DUE = """
    CREATE TEMPORARY TABLE epoch_due ON COMMIT DROP AS
    WITH payable AS MATERIALIZED (
        SELECT id, owner_id, balance_wei FROM rewards_account
         WHERE kind = 'payable' AND balance_wei > 0 ORDER BY id FOR NO KEY UPDATE
    ), paid_at AS (
        SELECT DISTINCT ON (user_id) user_id, address FROM accounts_wallet
         WHERE chain_id = %s AND unlinked_at IS NULL AND paid_from <= statement_timestamp()
         ORDER BY user_id, linked_at, id
    )
    SELECT payable.id AS payable_id, payable.owner_id AS user_id, paid_at.address,
           payable.balance_wei AS amount_wei
      FROM payable JOIN paid_at ON paid_at.user_id = payable.owner_id
"""
_OPEN_CLAIMABLE = """
    INSERT INTO rewards_account (code, kind, owner_id, balance_wei, held_wei)
    SELECT 'user:' || person.public_id || ':claimable', 'claimable', person.id, 0, 0
      FROM epoch_due JOIN accounts_user person ON person.id = epoch_due.user_id
     WHERE NOT EXISTS (SELECT 1 FROM rewards_account a
                        WHERE a.owner_id = person.id AND a.kind = 'claimable')
     ORDER BY person.id
        ON CONFLICT (code) DO NOTHING
"""
_ENTRIES = """
    INSERT INTO rewards_entry (transaction_id, account_id, amount_wei)
    SELECT %(transaction)s, leg.account_id, leg.amount_wei FROM (
        SELECT payable_id AS account_id, -amount_wei AS amount_wei FROM epoch_due
        UNION ALL
        SELECT a.id, amount_wei FROM epoch_due
          JOIN rewards_account a ON a.owner_id = epoch_due.user_id AND a.kind = 'claimable'
    ) leg ORDER BY leg.account_id
"""
_EARLIER_EPOCHS = (
    "SELECT number FROM rewards_epoch WHERE chain_id = %(chain)s AND distributor = %(at)s"
)
_PAYOUTS = f"""
    INSERT INTO rewards_epochpayout (epoch_id, user_id, address, amount_wei, cumulative_wei)
    SELECT %(number)s, user_id, address, amount_wei, amount_wei + coalesce(before.wei, 0)
      FROM epoch_due LEFT JOIN LATERAL (
        SELECT p.cumulative_wei AS wei FROM rewards_epochpayout p
         WHERE p.address = epoch_due.address AND p.epoch_id IN ({_EARLIER_EPOCHS})
         ORDER BY p.epoch_id DESC LIMIT 1
      ) before ON true
     ORDER BY address COLLATE "C"
"""  # noqa: S608 - the parts are constants
_LEAVES = f"""
    SELECT address, max(cumulative_wei)::text FROM rewards_epochpayout
     WHERE epoch_id = %(number)s OR epoch_id IN ({_EARLIER_EPOCHS})
     GROUP BY address ORDER BY address COLLATE "C"
"""  # noqa: S608 - the parts are constants


def collect_due() -> tuple[int, int]:
    """Lock what is payable to people with a linked wallet; return how many, and wei of all."""
    with connection.cursor() as cursor:
        limit = f"{STATEMENT_SECONDS_MAX}s"
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [limit])
        cursor.execute("DROP TABLE IF EXISTS pg_temp.epoch_due")
        cursor.execute(_DUE, [settings.CHAIN_ID])
        # The planner knows nothing of rows that this very transaction adds; with an index on this
        # side no order of joining is quadratic (20,000 people took 51 s without).
        cursor.execute("CREATE INDEX ON epoch_due (user_id)")
        cursor.execute("ANALYZE epoch_due")
        cursor.execute("SELECT count(*), coalesce(sum(amount_wei), 0) FROM epoch_due")
        people, wei = cursor.fetchone()
    return people, int(wei)


def post_due(number: int) -> Transaction:
    """Move all that is due from payable to claimable, in one posting."""
    row = Transaction(key=f"epoch:{number}", kind="epoch", reason=f"Epoch {number}")
    row.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_CLAIMABLE)
        cursor.execute(_ENTRIES, {"transaction": row.pk})
    return row


def write_payouts(number: int, addresses: Addresses) -> None:
    """A payout row for everybody who is due; the epoch's own row comes after it."""
    with connection.cursor() as cursor:
        cursor.execute(_PAYOUTS, _place(number, addresses))


def _place(number: int, addresses: Addresses) -> dict[str, Any]:
    return {"number": number, "chain": addresses.chain_id, "at": addresses.distributor}


def cumulative_rows(number: int, addresses: Addresses) -> Iterator[tuple[str, int]]:
    """All that each address ever got from this distributor, in wei, in order of the address."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(_LEAVES, _place(number, addresses))
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from ((address, int(wei)) for address, wei in rows)


class LeafFile:
    """The public list that anybody can rebuild the root from: canonical JSON, accounts in order.

    Written as it is read; `root`, `leaves` and `total_wei` are known when `store` returns.
    """

    def __init__(self, number: int, addresses: Addresses) -> None:
        self.number, self.addresses = number, addresses
        self.root = ""
        self.leaves = self.total_wei = 0

    def store(self, rows: Iterable[tuple[str, int]]) -> str:
        """Write the file; return its SHA-256."""
        return store_file(self._chunks(rows), size_max_bytes=LEAF_FILE_SIZE_MAX_BYTES)[0]

    def _chunks(self, rows: Iterable[tuple[str, int]]) -> Iterator[bytes]:
        chain_id, distributor = self.addresses.chain_id, self.addresses.distributor
        head = {
            "chain_id": chain_id,
            "distributor": distributor,
            "epoch": self.number,
            "leaf_encoding": ["uint256 chain_id", "address distributor", "address", "uint256 wei"],
        }
        yield json.dumps(head, indent=1, sort_keys=True)[:-2].encode()
        yield b',\n "leaves": ['
        hashed = PayoutLeaves(chain_id, distributor)
        lines: list[str] = []
        for address, wei in rows:
            account = hashed.add(address, wei)
            lines.append(f'{"," if len(hashed) > 1 else ""}\n  [\n   "{account}",\n   "{wei}"\n  ]')
            if len(lines) == ROWS_AT_ONCE:
                yield "".join(lines).encode()
                lines.clear()
        yield "".join(lines).encode()
        self.leaves, self.total_wei = len(hashed), hashed.total_wei
        self.root = "0x" + MerkleTree(hashed.leaves).root.hex()
        tail = {"root": self.root, "total_wei": str(self.total_wei)}
        yield b"\n ],\n" + json.dumps(tail, indent=1, sort_keys=True)[2:].encode() + b"\n"
