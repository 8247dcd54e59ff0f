"""What constraints cannot say about the books, said by the database itself.

A refusal here is `check_violation` (23514), so Django raises `IntegrityError`. `pg_trigger_depth()`
in a condition tells a statement of ours (0) from an update made by another of these triggers (1 or
more): that is how only an entry can move a balance and only a hold can move what is held.
"""

from __future__ import annotations

import pgtrigger


def append_only(name: str) -> pgtrigger.Trigger:
    """Rows can be added, never changed or removed, in raw SQL too."""
    return pgtrigger.Trigger(
        name=name,
        operation=pgtrigger.Update | pgtrigger.Delete,
        when=pgtrigger.Before,
        func="RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23514';",
    )


def never_deleted(name: str) -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name=name,
        operation=pgtrigger.Delete,
        when=pgtrigger.Before,
        func="RAISE EXCEPTION 'rows of % are kept', TG_TABLE_NAME USING ERRCODE = '23514';",
    )


ACCOUNT_TRIGGERS = [
    # All three refuse by their condition alone, which PostgreSQL evaluates without calling a
    # function: a call took half a millisecond an account once many were moved from inside another
    # trigger. The name's is not even looked at by a statement that sets balances only.
    pgtrigger.Trigger(
        name="account_opens_empty",
        operation=pgtrigger.Insert,
        when=pgtrigger.Before,
        condition=pgtrigger.Condition("(NEW.balance_wei <> 0 OR NEW.held_wei <> 0)"),
        func="RAISE EXCEPTION 'an account opens empty' USING ERRCODE = '23514';",
    ),
    pgtrigger.Trigger(
        name="account_moves_by_entries_only",
        operation=pgtrigger.Update,
        when=pgtrigger.Before,
        condition=pgtrigger.Condition(
            "(pg_trigger_depth() < 1 AND (NEW.balance_wei, NEW.held_wei)"
            " IS DISTINCT FROM (OLD.balance_wei, OLD.held_wei))"
        ),
        func="""
            RAISE EXCEPTION 'balances move by entries and holds only' USING ERRCODE = '23514';
        """,
    ),
    pgtrigger.Trigger(
        name="account_keeps_its_name",
        operation=pgtrigger.UpdateOf("id", "code", "kind", "owner_id"),  # type: ignore[no-untyped-call] # untyped
        when=pgtrigger.Before,
        condition=pgtrigger.Condition(
            "((NEW.id, NEW.code, NEW.kind, NEW.owner_id)"
            " IS DISTINCT FROM (OLD.id, OLD.code, OLD.kind, OLD.owner_id))"
        ),
        func="RAISE EXCEPTION 'an account keeps its name and owner' USING ERRCODE = '23514';",
    ),
    never_deleted("account_is_kept"),
]

TRANSACTION_TRIGGERS = [
    append_only("transaction_is_append_only"),
    # Names the database transaction that wrote the row; entries are taken from no other one. A
    # clock that went back dates nothing into a day whose books are closed.
    pgtrigger.Trigger(
        name="transaction_is_sealed_at_commit",
        operation=pgtrigger.Insert,
        when=pgtrigger.Before,
        declare=[("closed", "date"), ("open_from", "timestamptz")],
        func="""
            NEW.written_by = txid_current();
            SELECT day INTO closed FROM rewards_dailyclosing ORDER BY day DESC LIMIT 1;
            IF FOUND THEN
                open_from = (closed + 1)::timestamp AT TIME ZONE 'UTC';
                IF NEW.created_at < open_from THEN
                    NEW.created_at = open_from;
                END IF;
            END IF;
            RETURN NEW;
        """,
    ),
    pgtrigger.Trigger(
        name="transaction_sums_to_zero",
        operation=pgtrigger.Insert,
        when=pgtrigger.After,
        timing=pgtrigger.Deferred,
        declare=[("legs", "bigint"), ("total", "numeric")],
        func="""
            SELECT count(*), coalesce(sum(amount_wei), 0) INTO legs, total
              FROM rewards_entry WHERE transaction_id = NEW.id;
            IF legs < 2 OR total <> 0 THEN
                RAISE EXCEPTION 'transaction % has % legs that sum to %', NEW.id, legs, total
                    USING ERRCODE = '23514';
            END IF;
            RETURN NULL;
        """,
    ),
]

ENTRY_TRIGGERS = [
    append_only("entry_is_append_only"),
    # Once a statement, not once a row. Accounts are taken in id order, so no two batches wait in a
    # circle. One posting of a few legs is one UPDATE on a kept plan: it has an account only once.
    # A batch moves each balance once, however many entries it writes there, and locks the accounts
    # in order on the way. It is planned for the number there is: EXECUTE, or a plan made for a
    # million legs would scan all accounts for the next two.
    pgtrigger.Trigger(
        name="entry_moves_the_balance",
        level=pgtrigger.Statement,
        operation=pgtrigger.Insert,
        when=pgtrigger.After,
        referencing=pgtrigger.Referencing(new="fresh"),  # type: ignore[no-untyped-call] # untyped
        declare=[
            ("first_id", "bigint"),
            ("last_id", "bigint"),
            ("legs", "bigint"),
            ("sealed", "bigint"),
        ],
        func="""
            SELECT min(transaction_id), max(transaction_id), count(*)
              INTO first_id, last_id, legs FROM fresh;
            IF first_id = last_id AND legs <= 16 THEN
                PERFORM FROM rewards_transaction
                  WHERE id = first_id AND written_by = txid_current();
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'transaction % is sealed', first_id USING ERRCODE = '23514';
                END IF;
                UPDATE rewards_account a SET balance_wei = a.balance_wei + leg.amount_wei
                  FROM (SELECT account_id, amount_wei FROM fresh ORDER BY account_id) leg
                 WHERE a.id = leg.account_id;
                RETURN NULL;
            END IF;
            SELECT f.transaction_id INTO sealed
              FROM (SELECT DISTINCT transaction_id FROM fresh) f
              LEFT JOIN rewards_transaction t
                ON t.id = f.transaction_id AND t.written_by = txid_current()
             WHERE t.id IS NULL LIMIT 1;
            IF sealed IS NOT NULL THEN
                RAISE EXCEPTION 'transaction % is sealed', sealed USING ERRCODE = '23514';
            END IF;
            EXECUTE 'UPDATE rewards_account a SET balance_wei = a.balance_wei + locked.wei
                FROM (SELECT b.id, moved.wei
                        FROM (SELECT account_id, sum(amount_wei) AS wei FROM fresh
                               GROUP BY account_id HAVING sum(amount_wei) <> 0
                               ORDER BY account_id) moved
                        JOIN rewards_account b ON b.id = moved.account_id
                       ORDER BY b.id FOR NO KEY UPDATE OF b) locked
               WHERE a.id = locked.id';
            RETURN NULL;
        """,
    ),
]

# A cancelled transaction never had bytes, and from then on its row stands still: whoever signs from
# a row that they read earlier cannot store the bytes, and only stored bytes leave. Nor can its
# subject be queued again (`chain_transaction_once_per_subject`). An earlier try of the same subject
# that failed may have had bytes that pass after all, so the next one is not cancelled either.
CHAIN_TRANSACTION_TRIGGERS = [
    never_deleted("chain_transaction_is_kept"),
    pgtrigger.Trigger(
        name="chain_transaction_cancelled_unsigned",
        operation=pgtrigger.Insert | pgtrigger.Update,
        when=pgtrigger.Before,
        condition=pgtrigger.Condition("(NEW.state = 'cancelled')"),
        func="""
            IF OLD.state IS DISTINCT FROM 'queued' OR OLD.nonce IS NOT NULL OR OLD.raw <> ''
               OR OLD.transaction_hash <> '' OR OLD.earlier_hashes <> '{}'
               OR EXISTS (SELECT FROM rewards_chaintransaction earlier
                           WHERE earlier.state = 'failed'
                             AND (earlier.chain_id, earlier.purpose, earlier.subject)
                               = (OLD.chain_id, OLD.purpose, OLD.subject)) THEN
                RAISE EXCEPTION 'transaction % may be on chain', NEW.id USING ERRCODE = '23514';
            END IF;
            RETURN NEW;
        """,
    ),
    pgtrigger.Trigger(
        name="chain_transaction_cancelled_for_good",
        operation=pgtrigger.Update,
        when=pgtrigger.Before,
        condition=pgtrigger.Condition("(OLD.state = 'cancelled')"),
        func="RAISE EXCEPTION 'transaction % is cancelled', OLD.id USING ERRCODE = '23514';",
    ),
    # At the commit, so that neither of the two can be written without the other.
    pgtrigger.Trigger(
        name="chain_transaction_cancelled_is_given_back",
        operation=pgtrigger.Update,
        when=pgtrigger.After,
        timing=pgtrigger.Deferred,
        condition=pgtrigger.Condition("(NEW.state = 'cancelled')"),
        func="""
            PERFORM FROM rewards_withdrawal
              WHERE chain_transaction_id = NEW.id AND returned_by_id IS NOT NULL;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'transaction % is cancelled and nothing came back', NEW.id
                    USING ERRCODE = '23514';
            END IF;
            RETURN NULL;
        """,
    ),
]

WITHDRAWAL_TRIGGERS = [
    never_deleted("withdrawal_is_kept"),
    pgtrigger.Protect(
        name="withdrawal_keeps_its_terms",
        operation=pgtrigger.Update,
        condition=pgtrigger.AnyChange(
            "user", "chain_id", "address", "amount_wei", "escrow_id", "transaction"
        ),
    ),
    pgtrigger.Trigger(
        name="withdrawal_comes_back_once",
        operation=pgtrigger.Update,
        when=pgtrigger.Before,
        condition=pgtrigger.Condition(
            "(OLD.returned_by_id IS NOT NULL"
            " AND NEW.returned_by_id IS DISTINCT FROM OLD.returned_by_id)"
        ),
        func="RAISE EXCEPTION 'withdrawal % came back before', OLD.id USING ERRCODE = '23514';",
    ),
    # Paid in spite of it is what only the chain can say, of a try that the books do not know.
    pgtrigger.Trigger(
        name="withdrawal_cancelled_with_its_transaction",
        operation=pgtrigger.Insert | pgtrigger.Update,
        when=pgtrigger.Before,
        declare=[("sent", "text")],
        func="""
            SELECT state INTO sent FROM rewards_chaintransaction
             WHERE id = NEW.chain_transaction_id;
            IF (NEW.state = 'cancelled') <> (sent = 'cancelled')
               AND NOT (sent = 'cancelled' AND NEW.state = 'paid') THEN
                RAISE EXCEPTION 'a % withdrawal of a % transaction', NEW.state, sent
                    USING ERRCODE = '23514';
            END IF;
            RETURN NEW;
        """,
    ),
]

HOLD_TRIGGERS = [
    pgtrigger.Trigger(
        name="hold_reserves_its_amount",
        operation=pgtrigger.Insert,
        when=pgtrigger.After,
        func="""
            IF NEW.state <> 'pending' THEN
                RAISE EXCEPTION 'a hold begins pending' USING ERRCODE = '23514';
            END IF;
            UPDATE rewards_account SET held_wei = held_wei + NEW.amount_wei
             WHERE id = NEW.account_id;
            RETURN NULL;
        """,
    ),
    pgtrigger.Trigger(
        name="hold_is_resolved_once",
        operation=pgtrigger.Update,
        when=pgtrigger.After,
        func="""
            IF OLD.state <> 'pending' OR (NEW.account_id, NEW.amount_wei, NEW.key)
               IS DISTINCT FROM (OLD.account_id, OLD.amount_wei, OLD.key) THEN
                RAISE EXCEPTION 'hold % is already %', OLD.id, OLD.state USING ERRCODE = '23514';
            END IF;
            IF NEW.state <> 'pending' THEN
                UPDATE rewards_account SET held_wei = held_wei - OLD.amount_wei
                 WHERE id = OLD.account_id;
            END IF;
            RETURN NULL;
        """,
    ),
    never_deleted("hold_is_kept"),
]
