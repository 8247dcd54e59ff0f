"""A balance on its way back to its owner's wallet."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.chain import ChainTransaction
from rewards.models.ledger import Transaction
from rewards.models.triggers import WITHDRAWAL_TRIGGERS


class Withdrawal(models.Model):
    """OPEN that a person takes from their balance to a linked wallet.

    It leaves the balance when it is asked for and the books when its block is final. `escrow_id`
    works once in the escrow, so however often it is sent, it pays once. Until it is signed its
    owner can cancel it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "on its way"
        PAID = "paid", "paid"
        RETURNED = "returned", "back on the balance"
        CANCELLED = "cancelled", "cancelled, back on the balance"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="withdrawals"
    )
    chain_id = models.BigIntegerField()
    address = models.CharField(max_length=42, help_text="EIP-55 checksummed.")
    amount_wei = WeiField()
    escrow_id = models.CharField(max_length=66, unique=True)
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    chain_transaction = models.OneToOneField(
        ChainTransaction, on_delete=models.PROTECT, related_name="withdrawal"
    )
    transaction = models.OneToOneField(
        Transaction, on_delete=models.PROTECT, related_name="withdrawal_asked"
    )
    returned_by = models.OneToOneField(
        Transaction, null=True, on_delete=models.PROTECT, related_name="withdrawal_returned"
    )
    debt_wei = WeiField(default=0, help_text="Paid after it was returned and spent; still owed.")
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_wei__gt=0), name="withdrawal_is_something"),
            models.CheckConstraint(
                condition=Q(state="waiting", ended_at__isnull=True)
                | (~Q(state="waiting") & Q(ended_at__isnull=False)),
                name="withdrawal_ends_at_a_time",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["returned", "cancelled"]) | Q(returned_by__isnull=False),
                name="withdrawal_returned_by_a_posting",
            ),
            models.CheckConstraint(
                condition=Q(debt_wei=0) | Q(state="paid", returned_by__isnull=False),
                name="withdrawal_debt_is_of_one_paid_late",
            ),
        ]
        indexes = [models.Index(fields=["user", "-created_at"], name="withdrawal_by_person")]
        triggers = WITHDRAWAL_TRIGGERS

    def __str__(self) -> str:
        return f"{self.amount_wei} wei to {self.address} ({self.state})"

    @property
    def can_be_cancelled(self) -> bool:
        """As far as the books say; `cancel_withdrawal` looks again, and at the chain."""
        return self.state == self.State.WAITING and self.chain_transaction.is_unsigned
