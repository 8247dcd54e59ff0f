"""Payments by signature (x402): one row for each signed authorization that we took."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.chain import ChainTransaction, Deposit
from rewards.models.triggers import never_deleted


class SignedPayment(models.Model):
    """What a wallet signed to pay for one answer (EIP-3009, x402 scheme `exact`).

    Written before anything is broadcast, once per payer and nonce. Its money is certain when the
    transfer is a credited deposit, or at once when the payer's balance covers it: then nothing is
    broadcast and the signature is not kept.
    """

    class Source(models.TextChoices):
        CHAIN = "chain", "the wallet"
        BALANCE = "balance", "the balance"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="signed_payments"
    )
    chain_id = models.BigIntegerField()
    payer = models.CharField(max_length=42, help_text="EIP-55 checksummed.")
    nonce = models.CharField(max_length=66, help_text="0x and 64 lower-case hex digits.")
    amount_wei = WeiField()
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what it pays for.")
    source = models.CharField(max_length=7, choices=Source)
    chain_transaction = models.OneToOneField(
        ChainTransaction, null=True, on_delete=models.PROTECT, related_name="signed_payment"
    )
    deposit = models.ForeignKey(
        Deposit, null=True, on_delete=models.PROTECT, related_name="signed_payments"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "payer", "nonce"], name="signed_payment_once_per_nonce"
            ),
            models.CheckConstraint(
                condition=Q(source="chain", chain_transaction__isnull=False)
                | Q(source="balance", chain_transaction__isnull=True, deposit__isnull=True),
                name="signed_payment_is_broadcast_or_covered",
            ),
            models.CheckConstraint(
                condition=Q(amount_wei__gt=0), name="signed_payment_is_something"
            ),
        ]
        indexes = [models.Index(fields=["payer", "-created_at"], name="signed_payment_rate")]
        triggers = [
            never_deleted("signed_payment_is_kept"),
            pgtrigger.Protect(
                name="signed_payment_keeps_its_terms",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    "user", "chain_id", "payer", "nonce", "amount_wei", "fingerprint", "source",
                    "chain_transaction",
                ),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.amount_wei} wei by {self.payer} from {self.source}"

    @property
    def certain(self) -> bool:
        """Whether the payer's money is in the books."""
        if self.source == self.Source.BALANCE:
            return True
        return self.deposit is not None and self.deposit.state == Deposit.State.CREDITED

    @property
    def transaction_hash(self) -> str:
        """The transfer on chain; empty for one that the balance covered."""
        if self.deposit is not None:
            return self.deposit.transaction_hash
        return self.chain_transaction.transaction_hash if self.chain_transaction else ""

    @property
    def taken_wei(self) -> int:
        """What left the wallet for it."""
        return int(self.amount_wei) if self.source == self.Source.CHAIN else 0
