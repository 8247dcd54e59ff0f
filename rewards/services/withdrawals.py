"""Taking a balance back to a wallet: asked for here, sent by the sender, booked by the watcher.

asked → paid, returned or cancelled. Asking moves the wei from the balance to what is on its way and
queues the transaction, both or neither. The books let go of it when its event is final
(`withdrawal_books`), or it comes back here once the contract has refused it for good, or when its
owner cancels it before it is signed. The rules are docs/decisions/0040 and 0049.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from openledger_site.accounts.closing import keep_open
from openledger_site.accounts.models import User
from openledger_site.accounts.selectors import linked_wallet
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError, Unavailable
from openledger_site.core.money import format_open
from openledger_site.core.outbox import send_on_commit
from rewards.chain.errors import ChainError
from rewards.models import Account, ChainTransaction, EscrowWithdrawal, Withdrawal
from rewards.selectors.money import payout_freeze
from rewards.selectors.withdrawals import withdrawable_wei
from rewards.services.chain import chain_client, contract_addresses, deployed_addresses
from rewards.services.ledger import InsufficientFunds, post, system_account, user_account
from rewards.services.sender import DONE_BEFORE, on_chain_id, queue_transaction

Kind = Account.Kind
State = Withdrawal.State
PURPOSE = "withdraw"
A_DAY = timedelta(days=1)


class WithdrawalTooSmall(DomainError):
    code = "withdrawal_too_small"


class WalletWaits(Conflict):
    code = "wallet_waits"


class TooManyWithdrawals(DomainError):
    status = 429
    code = "too_many_withdrawals"


class PayoutsFrozen(Unavailable):
    code = "payouts_frozen"
    message = (
        "Nothing is paid out while the books are looked into. Your balance stays yours; the page"
        " on the state of the books says when it goes on."
    )


class TooLateToCancel(Conflict):
    code = "too_late_to_cancel"
    message = (
        "This withdrawal is signed and may be on chain any moment, so it cannot be cancelled any"
        " more. It is paid to your wallet, or comes back by itself if the chain refuses it."
    )


def ask_withdrawal(*, user: User, address: str, amount_wei: int) -> Withdrawal:
    """Take wei of a person's balance to a wallet linked to them.

    Raises `DomainError` for another wallet, `WalletWaits`, `WithdrawalTooSmall`,
    `TooManyWithdrawals`, `PayoutsFrozen`, `InsufficientFunds`, and `ContractsMissing` before
    deployment.
    """
    contract_addresses()
    with transaction.atomic():
        keep_open(user)  # and two requests stand in line
        wallet = _linked(user, address)
        _check_limits(user, amount_wei)
        public_id = uuid4()
        subject = f"balance:{public_id}"
        withdrawal = Withdrawal.objects.create(
            public_id=public_id,
            user=user,
            chain_id=settings.CHAIN_ID,
            address=wallet,
            amount_wei=amount_wei,
            escrow_id="0x" + on_chain_id(subject).hex(),
            transaction=post(
                key=f"withdraw:{public_id}",
                kind="withdrawal",
                legs=[
                    (user_account(user, Kind.SPENDABLE), -amount_wei),
                    (system_account(Kind.WITHDRAWING), amount_wei),
                ],
                reason=f"Withdrawn to {short(wallet)}",
                source_url=f"/rewards/withdrawals/{public_id}/",
            ),
            chain_transaction=queue_transaction(
                PURPOSE, subject=subject, to=wallet, amount_wei=str(amount_wei)
            ),
        )
        record_audit(
            "withdrawal.ask",
            actor=user,
            subject=f"withdrawal:{public_id}",
            amount_wei=str(amount_wei),
            address=wallet,
        )
        send_on_commit("rewards.send_transactions", queue="chain")
    withdrawal.refresh_from_db()
    return withdrawal


def short(address: str) -> str:
    return f"{address[:8]}…{address[-4:]}"


def _linked(user: User, address: str) -> str:
    wallet = linked_wallet(user, address)
    if wallet is None:
        raise DomainError("Choose a wallet that is linked to your account.", where="address")
    if wallet.waits:
        raise WalletWaits(
            f"This wallet was linked a short while ago. Withdraw to it from"
            f" {wallet.paid_from:%d %B %Y, %H:%M} UTC on, or choose another one.",
            where="address",
        )
    return wallet.address


def _check_limits(user: User, amount_wei: int) -> None:
    if payout_freeze():
        raise PayoutsFrozen()
    least = settings.WITHDRAWAL_MINIMUM_WEI
    if amount_wei < least:
        raise WithdrawalTooSmall(
            f"Withdraw at least {format_open(least)} OPEN at once.", where="amount", limit=least
        )
    today = Withdrawal.objects.filter(user=user, created_at__gt=Now() - A_DAY).count()
    if today >= settings.WITHDRAWALS_PER_DAY:
        raise TooManyWithdrawals(
            f"You withdrew {today} times within a day. Withdraw again tomorrow.",
            limit=settings.WITHDRAWALS_PER_DAY,
        )
    available = withdrawable_wei(user)
    if amount_wei > available:
        raise InsufficientFunds(
            f"You can withdraw {format_open(available, digits=18)} OPEN: your balance without what"
            " answers under way reserve.",
            where="amount",
            limit=available,
        )


def cancel_withdrawal(*, withdrawal: Withdrawal, actor: User) -> Withdrawal:
    """Put one that waits back on its owner's balance; once, and a repeat changes nothing.

    Raises `TooLateToCancel` as soon as there are bytes that the chain could take. The sender locks
    the same row of the queue to store them, so one of the two finds what the other has done.
    """
    if withdrawal.state == State.WAITING and _escrow_knows(withdrawal):
        raise TooLateToCancel()
    with transaction.atomic():
        locked = Withdrawal.objects.select_for_update(of=("self",)).get(pk=withdrawal.pk)
        if locked.state == State.CANCELLED:
            return locked
        if locked.state != State.WAITING:
            raise TooLateToCancel(f"This withdrawal is over: {locked.get_state_display()}.")
        _take_out_of_the_queue(locked)
        _give_back(locked, State.CANCELLED, "cancel", "Withdrawal cancelled: back on your balance")
        record_audit(
            "withdrawal.cancel",
            actor=actor,
            subject=f"withdrawal:{locked.public_id}",
            amount_wei=str(locked.amount_wei),
        )
    locked.refresh_from_db()
    return locked


def _escrow_knows(withdrawal: Withdrawal) -> bool:
    """Whether it was paid by a try of which a restored database knows nothing.

    A chain that does not answer need not be waited for: what these books never signed was not sent.
    """
    addresses = deployed_addresses()
    if addresses is None or withdrawal.chain_id != settings.CHAIN_ID:
        return False
    try:
        return _is_id_used(withdrawal, addresses.escrow)
    except ChainError:
        return False


def _is_id_used(withdrawal: Withdrawal, escrow: str) -> bool:
    return chain_client().is_escrow_id_used(escrow, bytes.fromhex(withdrawal.escrow_id[2:]))


def _take_out_of_the_queue(withdrawal: Withdrawal) -> None:
    """For good: nobody signs it any more. The database refuses it for a row that had bytes."""
    row = ChainTransaction.objects.select_for_update().get(pk=withdrawal.chain_transaction_id)
    same = {"chain_id": row.chain_id, "purpose": row.purpose, "subject": row.subject}
    was_tried = ChainTransaction.objects.filter(state=ChainTransaction.State.FAILED, **same)
    was_seen = EscrowWithdrawal.objects.filter(
        chain_id=withdrawal.chain_id, withdrawal_id=withdrawal.escrow_id
    )
    if not row.is_unsigned or was_tried.exists() or was_seen.exists():
        raise TooLateToCancel()
    row.state, row.problem = ChainTransaction.State.CANCELLED, ""
    row.save(update_fields=["state", "problem"])


def return_refused() -> int:
    """Give back what the contract refused for good; return how many.

    Raises `ChainError` when the chain is away. What is paid already (an earlier try went through)
    is left to the watcher, which sees its event once it is final.
    """
    refused = Withdrawal.objects.filter(
        chain_id=settings.CHAIN_ID,
        state=State.WAITING,
        chain_transaction__state=ChainTransaction.State.FAILED,
    )
    count = 0
    for pk in refused.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            count += _settle_refused(Withdrawal.objects.select_for_update().get(pk=pk))
    return count


def _settle_refused(withdrawal: Withdrawal) -> bool:
    sent = withdrawal.chain_transaction
    if withdrawal.state != State.WAITING or sent.state != ChainTransaction.State.FAILED:
        return False
    if _is_id_used(withdrawal, contract_addresses().escrow):
        return False
    if sent.problem == DONE_BEFORE:  # and its block has left the chain since
        withdrawal.chain_transaction = queue_transaction(
            PURPOSE, subject=sent.subject, **sent.arguments
        )
        withdrawal.save(update_fields=["chain_transaction"])
        return False
    _give_back(
        withdrawal,
        State.RETURNED,
        "return",
        "Withdrawal refused by the chain: back on your balance",
    )
    record_audit(
        "withdrawal.return",
        actor=None,
        subject=f"withdrawal:{withdrawal.public_id}",
        problem=sent.problem,
    )
    return True


def _give_back(withdrawal: Withdrawal, state: State, verb: str, reason: str) -> None:
    """The posting that set its wei aside, reversed."""
    withdrawal.returned_by = post(
        key=f"{verb}-withdrawal:{withdrawal.public_id}",
        kind=f"withdrawal_{verb}",
        legs=[
            (system_account(Kind.WITHDRAWING), -withdrawal.amount_wei),
            (user_account(withdrawal.user, Kind.SPENDABLE), withdrawal.amount_wei),
        ],
        reason=reason,
        source_url=f"/rewards/withdrawals/{withdrawal.public_id}/",
    )
    withdrawal.state, withdrawal.ended_at = state, Now()
    withdrawal.save(update_fields=["state", "ended_at", "returned_by"])
