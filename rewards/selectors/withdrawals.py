"""Reads of withdrawals: what may be taken out, and how far one is, in words."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now
from django.http import Http404

from openledger_site.accounts.models import User
from openledger_site.accounts.selectors import wallets_here
from rewards.models import ChainTransaction, Deposit, Withdrawal
from rewards.selectors.money import balance_of, payout_freeze

_SENT = ChainTransaction.State
STEPS = ("Asked for", "Sent", "In a block", "Final")
# What the node or the contract says, and what it means for whoever waits.
_PROBLEMS = {
    "EnforcedPause": "The escrow is paused. It is sent by itself once the pause ends.",
    "insufficient_funds": "The site's own wallet lacks the coin that pays for gas. It is sent by"
    " itself once the operator has topped it up.",
    "waiting for finality": "The contract refused it; once that is final your OPEN comes back.",
}


@dataclass(frozen=True)
class Progress:
    """`step` counts from 1 to 4 through `STEPS`; `words` say what it waits for, if anything."""

    withdrawal: Withdrawal
    step: int
    words: str

    @property
    def is_open(self) -> bool:
        return self.withdrawal.state == Withdrawal.State.WAITING


def withdrawable_wei(user: User) -> int:
    """The balance without what is reserved and without what deposits that vanished still owe."""
    own = {"user": user, "debt_wei__gt": 0}
    owed = sum(
        int(model._default_manager.filter(**own).aggregate(wei=Sum("debt_wei"))["wei"] or 0)
        for model in (Deposit, Withdrawal)
    )
    return max(0, balance_of(user).available_wei - owed)


def payable_addresses_of(user: User) -> list[str]:
    """Linked wallets that a balance may go to by now, the one linked first before others."""
    payable = wallets_here(user).filter(paid_from__lte=Now())
    return list(payable.values_list("address", flat=True))


def withdrawals_of(user: User) -> QuerySet[Withdrawal]:
    """Newest first."""
    own = Withdrawal.objects.filter(user=user).select_related("chain_transaction")
    return own.order_by("-pk")


def withdrawal_for(user: User, public_id: UUID) -> Withdrawal:
    """One's own; 404 for everybody else."""
    withdrawal = withdrawals_of(user).filter(public_id=public_id).first()
    if withdrawal is None:
        raise Http404("No such withdrawal.")
    return withdrawal


def progress_of(withdrawal: Withdrawal) -> Progress:
    sent = withdrawal.chain_transaction
    if withdrawal.state == Withdrawal.State.PAID:
        return Progress(withdrawal, 4, "")
    if withdrawal.state == Withdrawal.State.RETURNED:
        return Progress(
            withdrawal, 1, f"The chain refused it, so it is back on your balance. {sent.problem}"
        )
    if withdrawal.state == Withdrawal.State.CANCELLED:
        return Progress(
            withdrawal, 1, "Cancelled before it was sent, so it is back on your balance."
        )
    step = {_SENT.SENT: 2, _SENT.MINED: 3, _SENT.FINAL: 3}.get(_SENT(sent.state), 1)
    return Progress(withdrawal, step, _words(withdrawal, sent))


def _words(withdrawal: Withdrawal, sent: ChainTransaction) -> str:
    if withdrawal.chain_id != settings.CHAIN_ID:
        return f"It belongs to chain {withdrawal.chain_id}, which this site does not serve now."
    if sent.state == _SENT.QUEUED and payout_freeze():
        return "Payouts are frozen while the books are looked into. It is sent once that is over."
    for sign, words in _PROBLEMS.items():
        if sign in sent.problem:
            return words
    if sent.state == _SENT.FAILED:
        return "The chain refused it. Your OPEN comes back within a minute."
    return sent.problem
