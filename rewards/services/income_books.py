"""What the stakers' part does in the books once the chain has moved it for good.

pool → due when a round is planned; due → out of custody when the contract says that it was paid
in. In between it is in custody: in the escrow, or for a moment in the operator's wallet.
"""

from __future__ import annotations

from django.db.models import Q, QuerySet

from rewards.chain.records import WithdrawalEvent
from rewards.models import (
    Account,
    ChainTransaction,
    EscrowWithdrawal,
    IncomePayment,
    StakeEvent,
    Transaction,
)
from rewards.services.chain_events import keep_event
from rewards.services.ledger import Leg, post, system_account
from rewards.services.withdrawal_books import book_paid, void_paid, withdrawal_of

Kind = Account.Kind
PaymentState = IncomePayment.State
# Subjects of the two calls that take OPEN out of the escrow in a round.
FLOAT, TREASURY = "stakers", "stakers-treasury"


def transactions_with_hash(chain_id: int, purpose: str, digest: str) -> QuerySet[ChainTransaction]:
    """Ours with this hash, now or before a replacement."""
    mine = ChainTransaction.objects.filter(chain_id=chain_id, purpose=purpose)
    return mine.filter(Q(transaction_hash=digest) | Q(earlier_hashes__contains=[digest]))


def book_income(event: StakeEvent) -> None:
    """Take from the books what one of our payments paid in; other people's gifts change nothing.

    One that fits no payment on its way is kept as `unknown`, which reconcile reports.
    """
    ours = transactions_with_hash(event.chain_id, "income", event.transaction_hash)
    payment = (
        IncomePayment.objects.select_for_update(of=("self",))
        .filter(chain_transaction__in=ours, target=event.target)
        .first()
    )
    if payment is None:
        return
    if payment.state != PaymentState.DUE or payment.amount_wei != event.amount_wei:
        event.state = StakeEvent.State.UNKNOWN
    else:
        event.transaction = _leave(event, "income", "Paid in for stakers", payment)
    event.save(update_fields=["state", "transaction"])


def void_income(event: StakeEvent) -> None:
    """Undo a payment whose block left the chain; its bytes are sent again."""
    ours = transactions_with_hash(event.chain_id, "income", event.transaction_hash)
    paid = IncomePayment.objects.filter(chain_transaction__in=ours, state=PaymentState.PAID)
    _come_back(event, "income", paid.first())


def book_withdrawal(event: WithdrawalEvent, chain_id: int) -> None:
    """Book what left the escrow: for a person or the treasury it left the books, else it is on its
    way."""
    row, is_new, came_back = keep_event(
        EscrowWithdrawal,
        event.place,
        chain_id,
        standing=EscrowWithdrawal.State.UNKNOWN,
        address=event.to,
        amount_wei=event.amount_wei,
        withdrawal_id=event.withdrawal_id,
        state=EscrowWithdrawal.State.UNKNOWN,
    )
    if not (is_new or came_back):
        return
    withdrawal = withdrawal_of(row)
    if withdrawal is not None:
        book_paid(row, withdrawal)
    else:
        _book_for_stakers(row)
    row.save(update_fields=["state", "transaction"])


def _book_for_stakers(row: EscrowWithdrawal) -> None:
    ours = transactions_with_hash(row.chain_id, "withdraw", row.transaction_hash).first()
    kind, _, number = (ours.subject if ours else "").partition(":")
    if kind == FLOAT:
        row.state = EscrowWithdrawal.State.FLOAT
    elif kind == TREASURY:
        due = IncomePayment.objects.select_for_update(of=("self",)).filter(
            round_id=int(number), target="", state=PaymentState.DUE, amount_wei=row.amount_wei
        )
        payment = due.first()
        if payment is not None:
            row.state = EscrowWithdrawal.State.TREASURY
            row.transaction = _leave(row, "treasury", "Nobody staked: to the treasury", payment)


def void_withdrawal(row: EscrowWithdrawal) -> None:
    withdrawal = withdrawal_of(row)
    if withdrawal is not None:
        void_paid(row, withdrawal)
    elif row.transaction is not None:
        ours = transactions_with_hash(row.chain_id, "withdraw", row.transaction_hash).get()
        number = int(ours.subject.partition(":")[2])
        _come_back(row, "treasury", IncomePayment.objects.get(round_id=number, target=""))
    row.state, row.transaction = EscrowWithdrawal.State.VOIDED, None
    row.save(update_fields=["state", "transaction"])


def _leave(
    event: StakeEvent | EscrowWithdrawal, name: str, reason: str, payment: IncomePayment
) -> Transaction:
    payment.state = PaymentState.PAID
    payment.save(update_fields=["state"])
    return post(
        key=f"{name}:{event.place_key}", kind=name, legs=_legs(payment.amount_wei), reason=reason
    )


def _come_back(
    event: StakeEvent | EscrowWithdrawal, name: str, payment: IncomePayment | None
) -> None:
    if event.transaction is None or payment is None:
        return
    payment.state = PaymentState.DUE
    payment.save(update_fields=["state"])
    post(
        key=f"void-{name}:{event.place_key}",
        kind=f"{name}_void",
        legs=_legs(-payment.amount_wei),
        reason="The block of this payment left the chain",
    )


def _legs(amount_wei: int) -> list[Leg]:
    return [
        (system_account(Kind.STAKERS_DUE), -amount_wei),
        (system_account(Kind.CUSTODY), amount_wei),
    ]
