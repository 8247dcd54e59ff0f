"""Epochs, what each paid to whom, and the checks that can stop them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.chain import Claim
from rewards.models.ledger import Transaction
from rewards.models.triggers import never_deleted


class Epoch(models.Model):
    """One payout period: a cumulative Merkle root, funded, proposed and activated on chain."""

    class State(models.TextChoices):
        CLOSED = "closed", "closed, being funded"
        FUNDED = "funded", "funded, being proposed"
        PROPOSED = "proposed", "proposed, open to challenge"
        ACTIVE = "active"
        FAILED = "failed"

    number = models.PositiveIntegerField(primary_key=True)
    state = models.CharField(max_length=8, choices=State, default=State.CLOSED)
    root = models.CharField(max_length=66)
    leaves = models.PositiveIntegerField()
    amount_wei = WeiField(help_text="New in this epoch.")
    total_wei = WeiField(help_text="All epochs together: what the root adds up to.")
    leaf_file = models.CharField(max_length=64, help_text="SHA-256 of the public leaf list.")
    distributor = models.CharField(max_length=42)
    chain_id = models.BigIntegerField()
    transaction = models.OneToOneField(Transaction, on_delete=models.PROTECT)
    problem = models.CharField(max_length=200, blank=True)
    closed_at = models.DateTimeField(db_default=Now())
    activatable_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        triggers = [never_deleted("epoch_is_kept")]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_wei__gt=0, total_wei__gte=F("amount_wei")),
                name="epoch_pays_something",
            )
        ]

    def __str__(self) -> str:
        return f"epoch {self.number} ({self.state})"

    @property
    def title(self) -> str:
        return f"Epoch {self.number}"


class EpochPayout(models.Model):
    """What one person got in one epoch, at the address that may claim it.

    The epoch has no index of its own, `payout_once_per_address` begins with it; a claim's leaves
    out what is not claimed.
    """

    epoch = models.ForeignKey(
        Epoch, on_delete=models.PROTECT, related_name="payouts", db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="payouts"
    )
    address = models.CharField(max_length=42)
    amount_wei = WeiField()
    cumulative_wei = WeiField(help_text="All that this address ever got: the amount in its leaf.")
    claim = models.ForeignKey(
        Claim, null=True, on_delete=models.PROTECT, related_name="payouts", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["epoch", "address"], name="payout_once_per_address"),
            models.CheckConstraint(
                condition=Q(amount_wei__gt=0, cumulative_wei__gte=F("amount_wei")),
                name="payout_is_something",
            ),
        ]
        indexes = [
            models.Index(fields=["address", "-epoch"], name="payout_by_address"),
            models.Index(
                fields=["claim"], condition=Q(claim__isnull=False), name="payout_of_claim"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei to {self.address} in epoch {self.epoch_id}"


class PayoutFreeze(models.Model):
    """Payouts stand still from a failed reconcile until a person lifts it."""

    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(db_default=Now())
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=Q(lifted_at__isnull=True), name="payout_freeze_once"
            )
        ]

    def __str__(self) -> str:
        return self.reason


class ReconcileRun(models.Model):
    """One comparison of the books with themselves, the receipts and the chain."""

    ok = models.BooleanField()
    unexplained_wei = WeiField()
    report = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{'clean' if self.ok else 'not clean'} at {self.created_at}"
