"""What a withdrawal does in the books once the chain has paid it for good, and what is checked."""

from __future__ import annotations

from django.db import connection
from django.db.models.functions import Now

from rewards.models import Account, ChainTransaction, EscrowWithdrawal, Withdrawal
from rewards.services.ledger import SYSTEM_CODES, Leg, post, system_account, user_account

Kind = Account.Kind
State = Withdrawal.State


def withdrawal_of(event: EscrowWithdrawal) -> Withdrawal | None:
    """The person's withdrawal that this event paid, locked; by the id that the escrow took once."""
    return (
        Withdrawal.objects.select_for_update(of=("self",))
        .filter(chain_id=event.chain_id, escrow_id=event.withdrawal_id)
        .first()
    )


def book_paid(event: EscrowWithdrawal, withdrawal: Withdrawal) -> None:
    """Out of custody; one with other terms than ours stays `unknown`, which reconcile reports."""
    asked = (withdrawal.address.lower(), withdrawal.amount_wei)
    if withdrawal.state == State.PAID or (event.address.lower(), event.amount_wei) != asked:
        return
    source = _source(withdrawal)
    event.transaction = post(
        key=f"withdrawal:{event.place_key}",
        kind="withdrawal_paid",
        legs=[*source, (system_account(Kind.CUSTODY), event.amount_wei)],
        reason="Paid to the wallet after all" if withdrawal.returned_by else "Paid to the wallet",
        source_url=f"/rewards/withdrawals/{withdrawal.public_id}/",
    )
    event.state = EscrowWithdrawal.State.PERSON
    withdrawal.state, withdrawal.ended_at = State.PAID, Now()
    withdrawal.save(update_fields=["state", "ended_at", "debt_wei"])


def _source(withdrawal: Withdrawal) -> list[Leg]:
    """Where its wei are: on their way, or on the balance again if it was returned or cancelled.

    The latter takes a chain that took back a final refusal and let the same bytes pass, or bytes of
    which a restored database knows nothing.
    """
    amount = int(withdrawal.amount_wei)
    if withdrawal.returned_by_id is None:
        return [(system_account(Kind.WITHDRAWING), -amount)]
    found = user_account(withdrawal.user, Kind.SPENDABLE)
    account = Account.objects.select_for_update(no_key=True).get(pk=found.pk)
    taken = min(amount, account.available_wei)
    withdrawal.debt_wei = amount - taken
    return [(account, -taken), (system_account(Kind.REORG_DEBT), taken - amount)]


def void_paid(event: EscrowWithdrawal, withdrawal: Withdrawal) -> None:
    """Undo one whose block left the chain: it is on its way again, by the same bytes."""
    if event.transaction is None:
        return
    entries = event.transaction.entries.select_related("account")
    post(
        key=f"void-withdrawal:{event.place_key}",
        kind="withdrawal_void",
        legs=[(entry.account, -entry.amount_wei) for entry in entries],
        reason="The block of this withdrawal left the chain",
    )
    withdrawal.state = _state_without_payment(withdrawal)
    withdrawal.ended_at = None if withdrawal.state == State.WAITING else Now()
    withdrawal.debt_wei = 0
    withdrawal.save(update_fields=["state", "ended_at", "debt_wei"])
    # Not final any more: the sender has to follow it again.
    ChainTransaction.objects.filter(
        pk=withdrawal.chain_transaction_id, state=ChainTransaction.State.FINAL
    ).update(state=ChainTransaction.State.MINED)


def _state_without_payment(withdrawal: Withdrawal) -> Withdrawal.State:
    if withdrawal.returned_by_id is None:
        return State.WAITING
    was_cancelled = withdrawal.chain_transaction.state == ChainTransaction.State.CANCELLED
    return State.CANCELLED if was_cancelled else State.RETURNED


def withdrawals_are_somewhere() -> list[str]:
    """I10: what is on its way is set aside to the wei, and what is paid has its event, once."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT 'on their way', coalesce((SELECT balance_wei FROM rewards_account
                                              WHERE code = %s), 0),
                   coalesce((SELECT sum(amount_wei) FROM rewards_withdrawal
                              WHERE state = 'waiting'), 0)
             UNION ALL
            SELECT coalesce(w.public_id::text, e.withdrawal_id), coalesce(e.wei, 0),
                   coalesce(w.amount_wei, 0)
              FROM (SELECT * FROM rewards_withdrawal WHERE state = 'paid') w
              FULL JOIN (SELECT chain_id, withdrawal_id, sum(amount_wei) AS wei
                           FROM rewards_escrowwithdrawal WHERE state = 'person' GROUP BY 1, 2) e
                ON e.withdrawal_id = w.escrow_id AND e.chain_id = w.chain_id
            """,
            [SYSTEM_CODES[Kind.WITHDRAWING]],
        )
        rows = cursor.fetchall()
    return [
        f"withdrawals {name}: {found} wei, asked for {asked}"
        for name, found, asked in rows
        if found != asked
    ]
