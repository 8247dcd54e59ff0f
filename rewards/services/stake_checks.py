"""What reconcile asks about stakes: the stakers' part in the books, and what the contract got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.staking import read_rules, staking_events
from rewards.models import Account, StakeEvent
from rewards.services.ledger import SYSTEM_CODES

Kind = Account.Kind


def stakers_part_is_somewhere() -> list[str]:
    """I8: each stakers' part has its targets; the pool holds what waits, `due` what goes."""
    problems = [
        f"settlement {key}: stakers' part {part}, its targets {given} wei"
        for key, part, given in _parts_that_differ()
    ]
    return [*problems, *_pools_that_differ(), *_payments_that_differ()]


def _rows(sql: str, parameters: Sequence[str] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _pools_that_differ() -> list[str]:
    """Both sides in one statement, which sees one moment: an answer that is settled meanwhile must
    not freeze payouts."""
    waiting, due = SYSTEM_CODES[Kind.STAKERS], SYSTEM_CODES[Kind.STAKERS_DUE]
    rows = _rows(
        """
        SELECT pool.code, coalesce(account.balance_wei, 0), pool.owed
          FROM (
            SELECT %s AS code, coalesce(sum(share.amount_wei), 0) AS owed
              FROM rewards_stakershare share
              JOIN rewards_settlement answer ON answer.id = share.settlement_id
             WHERE share.payment_id IS NULL AND answer.refund_id IS NULL
            UNION ALL
            SELECT %s, coalesce(sum(amount_wei), 0) FROM rewards_incomepayment
             WHERE state = 'due'
          ) pool LEFT JOIN rewards_account account ON account.code = pool.code
         WHERE coalesce(account.balance_wei, 0) <> pool.owed
        """,
        (waiting, due),
    )
    return [f"{code}: {held} wei, its parts are {owed}" for code, held, owed in rows]


def _parts_that_differ() -> list[Any]:
    return _rows("""
        SELECT a.key, a.stakers_wei, coalesce(sum(s.amount_wei), 0)
          FROM rewards_settlement a LEFT JOIN rewards_stakershare s ON s.settlement_id = a.id
         GROUP BY a.id HAVING a.stakers_wei <> coalesce(sum(s.amount_wei), 0)
    """)


def _payments_that_differ() -> list[str]:
    """What was set aside for a target is the sum of the parts that it stands for."""
    rows = _rows("""
        SELECT p.id, p.amount_wei, coalesce(sum(s.amount_wei), 0)
          FROM rewards_incomepayment p LEFT JOIN rewards_stakershare s ON s.payment_id = p.id
         WHERE p.state <> 'returned'
         GROUP BY p.id HAVING p.amount_wei <> coalesce(sum(s.amount_wei), 0)
    """)
    return [f"payment {pk}: {amount} wei, its parts are {parts}" for pk, amount, parts in rows]


def paid_in(client: ChainClient, addresses: Addresses, block: int) -> tuple[int, list[str]]:
    """Wei that our payments brought into OpenStaking by `block`, and what does not fit the books.

    Gifts of other people are the contract's own business, and so is all stake: it was never ours.
    """
    if not addresses.staking:
        return 0, []
    first = addresses.deployed_block
    events = staking_events(client, addresses.staking, first, block)
    on_chain = {
        (event.place.transaction_hash, event.place.log_index): event.amount_wei
        for event in events
        if event.kind == StakeEvent.Kind.INCOME
    }
    rows = StakeEvent.objects.filter(chain_id=addresses.chain_id, kind=StakeEvent.Kind.INCOME)
    booked = {
        (row.transaction_hash, row.log_index): row
        for row in rows.exclude(state=StakeEvent.State.VOIDED)
    }
    problems = [
        f"income {digest} log {index} differs"
        for digest, index in sorted(on_chain.keys() | booked.keys())
        if on_chain.get((digest, index)) != getattr(booked.get((digest, index)), "amount_wei", None)
    ]
    problems += [
        f"income {row.transaction_hash} fits no payment of the books"
        for row in booked.values()
        if row.state == StakeEvent.State.UNKNOWN
    ]
    if not read_rules(client, addresses.staking, block).is_solvent:
        problems.append("OpenStaking holds less than it owes.")
    ours = sum(int(row.amount_wei) for row in booked.values() if row.transaction_id is not None)
    return ours, problems
