"""What the books say of a person who closes their account."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Now
from django.urls import reverse

from openledger_site.accounts.closing import Hint, Part
from openledger_site.accounts.models import User
from openledger_site.core.money import format_open
from rewards.models import ChainTransaction, RefundRequest, Relay, SignedPayment, Withdrawal
from rewards.selectors.money import balance_of, earnings_summary
from rewards.selectors.stakes import stakes_of
from rewards.selectors.withdrawals import withdrawable_wei


def _obstacles(user: User) -> Iterator[Hint]:
    page = reverse("rewards:overview")
    if balance_of(user).held_wei:
        yield Hint("An answer of yours is still being paid for. Wait a moment.", page)
    if _is_depositing(user):
        yield Hint("A payment of yours is on its way. Wait until it has arrived.", page)
    if Withdrawal.objects.filter(user=user, state=Withdrawal.State.WAITING).exists():
        yield Hint("A withdrawal of yours is on its way. Wait until it has arrived.", page)
    elif withdrawable_wei(user) >= settings.WITHDRAWAL_MINIMUM_WEI:
        amount = format_open(withdrawable_wei(user))
        yield Hint(f"Take your balance of {amount} OPEN back to your wallet.", page)


def _is_depositing(user: User) -> bool:
    """Whether we are bringing OPEN of theirs in: once their wallets are unlinked it is nobody's."""
    here = {"user": user, "chain_id": settings.CHAIN_ID}
    deposits = Relay.objects.filter(
        **here, action=Relay.Action.DEPOSIT, state=Relay.State.PENDING, hold=None
    )
    signed = SignedPayment.objects.filter(
        **here, source=SignedPayment.Source.CHAIN, deposit=None
    ).exclude(chain_transaction__state=ChainTransaction.State.FAILED)
    return deposits.exists() or signed.exists()


def _asked_back_wei(user: User) -> int:
    """Fees whose refund can still be granted."""
    waiting = RefundRequest.objects.filter(
        asked_by=user, state=RefundRequest.State.OPEN, decide_by__gt=Now()
    )
    return int(waiting.aggregate(fees=Sum("settlement__fee_wei"))["fees"] or 0)


def _losses(user: User) -> Iterator[Hint]:
    available, earned = balance_of(user).available_wei, earnings_summary(user)
    if 0 < available < settings.WITHDRAWAL_MINIMUM_WEI:  # more than that is taken back first
        yield Hint(
            f"{format_open(available)} OPEN on your balance, too little to withdraw. It stays in"
            " the books, and nobody gets it."
        )
    unpaid = earned.holding_wei + earned.payable_wei
    if unpaid:
        yield Hint(
            f"{format_open(unpaid)} OPEN that you earned and that no epoch has paid yet. Wait for"
            " the next one if you have linked a wallet. It stays in the books, and nobody gets it.",
            reverse("rewards:earnings"),
        )
    if earned.claimable_wei:
        yield Hint(
            f"{format_open(earned.claimable_wei)} OPEN that wait in the contract. They stay yours:"
            " the epoch's public leaf file is all that a claim needs.",
            reverse("rewards:earnings"),
        )
    if asked_wei := _asked_back_wei(user):
        yield Hint(
            f"A refund of {format_open(asked_wei)} OPEN that you asked for and nobody has decided"
            " yet. If it is granted later, it stays in the books, and nobody gets it."
        )
    if stakes_of(user):
        yield Hint(
            "What you have staked. It stays in the contract and yours, and this site no longer"
            " shows it to you.",
            reverse("rewards:stakes"),
        )


# Nothing to do then: entries of the books never change, and closing unlinks the wallets.
LEAVING = Part(_obstacles, _losses)
