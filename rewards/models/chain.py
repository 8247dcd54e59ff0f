"""What the chain said (deposits, claims) and what we told it (transactions, anchors)."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.ledger import Transaction
from rewards.models.triggers import CHAIN_TRANSACTION_TRIGGERS, never_deleted


class ChainCursor(models.Model):
    """The last block whose events are in the books; moves in the transaction that posts them."""

    chain_id = models.BigIntegerField(primary_key=True)
    escrow = models.CharField(max_length=42)
    block_number = models.BigIntegerField()
    block_hash = models.CharField(max_length=66)
    rewinds = models.PositiveIntegerField(default=0, help_text="Times the chain went back.")
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"chain {self.chain_id} at {self.block_number}"


class ChainPlace(models.Model):
    """Where an event in a final block happened. Voided with its block; kept all the same."""

    chain_id = models.BigIntegerField()
    transaction_hash = models.CharField(max_length=66)
    log_index = models.PositiveIntegerField()
    block_number = models.BigIntegerField()
    block_hash = models.CharField(max_length=66)
    applications = models.PositiveIntegerField(default=1, help_text="Times it was applied.")
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    @property
    def place_key(self) -> str:
        """Names this application of this event in ledger keys."""
        place = f"{self.chain_id}:{self.transaction_hash}:{self.log_index}"
        return f"{place}:{self.block_hash}:{self.applications}"


PLACE = ["chain_id", "transaction_hash", "log_index"]


def once_per_place(name: str) -> list[models.BaseConstraint]:
    """An event has a row for each block it stood in; one counts. `name` begins theirs."""
    return [
        models.UniqueConstraint(fields=[*PLACE, "block_hash"], name=f"{name}_once_per_block"),
        models.UniqueConstraint(
            fields=PLACE, condition=~Q(state="voided"), name=f"{name}_counts_once"
        ),
    ]


class ChainEvent(ChainPlace):
    """An event that moved OPEN."""

    address = models.CharField(max_length=42)
    amount_wei = WeiField()

    class Meta:
        abstract = True


class Deposit(ChainEvent):
    """OPEN that somebody put into custody."""

    class State(models.TextChoices):
        CREDITED = "credited"
        UNASSIGNED = "unassigned"
        VOIDED = "voided"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="deposits"
    )
    state = models.CharField(max_length=10, choices=State)
    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, related_name="deposits")
    debt_wei = WeiField(default=0, help_text="Spent before the deposit was voided, still owed.")

    class Meta:
        triggers = [never_deleted("deposit_is_kept")]
        constraints = [
            *once_per_place("deposit"),
            models.CheckConstraint(
                condition=Q(state="unassigned", user__isnull=True) | ~Q(state="unassigned"),
                name="deposit_unassigned_has_no_user",
            ),
        ]
        indexes = [models.Index(fields=["address"], name="deposit_by_address")]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei from {self.address} ({self.state})"


class Claim(ChainEvent):
    """Earnings that the distributor paid out."""

    class State(models.TextChoices):
        PAID = "paid"
        UNKNOWN = "unknown"
        VOIDED = "voided"

    state = models.CharField(max_length=10, choices=State)
    cumulative_wei = WeiField()
    root = models.CharField(max_length=66)
    transaction = models.ForeignKey(
        Transaction, null=True, on_delete=models.PROTECT, related_name="claims"
    )

    class Meta:
        triggers = [never_deleted("claim_is_kept")]
        constraints = once_per_place("claim")
        indexes = [models.Index(fields=["address"], name="claim_by_address")]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei to {self.address} ({self.state})"


class ChainTransaction(models.Model):
    """A transaction of ours. The signed bytes are stored before they are sent, so a crash can only
    send the same bytes again. `arguments` become call data when the row is signed."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SIGNED = "signed"
        SENT = "sent"
        MINED = "mined"
        FINAL = "final"
        FAILED = "failed"
        CANCELLED = "cancelled"

    ENDED = (State.FINAL, State.FAILED, State.CANCELLED)

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    chain_id = models.BigIntegerField()
    purpose = models.CharField(max_length=20)
    subject = models.CharField(max_length=160)
    arguments = models.JSONField(default=dict)
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    sender = models.CharField(max_length=42, blank=True)
    nonce = models.BigIntegerField(null=True)
    fields = models.JSONField(default=dict, help_text="What a replacement needs: gas and fees.")
    raw = models.BinaryField(default=bytes)
    transaction_hash = models.CharField(max_length=66, blank=True)
    earlier_hashes = ArrayField(models.CharField(max_length=66), default=list)
    block_number = models.BigIntegerField(null=True)
    block_hash = models.CharField(max_length=66, blank=True)
    gas_used = models.BigIntegerField(null=True)
    gas_price_wei = WeiField(null=True, help_text="What the block took for a unit of gas.")
    problem = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)

    class Meta:
        triggers = CHAIN_TRANSACTION_TRIGGERS
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "sender", "nonce"],
                condition=Q(nonce__isnull=False),
                name="chain_nonce_used_once",
            ),
            models.UniqueConstraint(
                fields=["chain_id", "purpose", "subject"],
                condition=~Q(state="failed"),
                name="chain_transaction_once_per_subject",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "failed", "cancelled"])
                | (Q(nonce__isnull=False) & ~Q(transaction_hash="")),
                name="chain_transaction_signed_before_sent",
            ),
        ]
        indexes = [models.Index(fields=["state", "id"], name="chain_transaction_queue")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.subject} ({self.state})"

    @property
    def is_unsigned(self) -> bool:
        """Nothing of it can be on its way; one that is queued again may have had bytes before."""
        had_bytes = self.raw or self.transaction_hash or self.earlier_hashes
        return self.state == self.State.QUEUED and not had_bytes


class ContractReading(models.Model):
    """Whether the code at one of our addresses is the code we compiled, as last read."""

    chain_id = models.BigIntegerField()
    address = models.CharField(max_length=42)
    name = models.CharField(max_length=60)
    is_same_code = models.BooleanField()
    constants = models.PositiveIntegerField(help_text="Values that the constructor filled in.")
    source_hash = models.CharField(max_length=64)
    read_block = models.BigIntegerField()
    read_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "address"], name="contract_reading_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.address}"


class Anchor(models.Model):
    """A Merkle root over `count` things that goes on chain under a subject's name."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    subject = models.CharField(max_length=120)
    root = models.CharField(max_length=66)
    count = models.PositiveBigIntegerField()
    chain_transaction = models.OneToOneField(ChainTransaction, on_delete=models.PROTECT)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [never_deleted("anchor_is_kept")]
        constraints = [
            models.UniqueConstraint(fields=["subject", "root"], name="anchor_once_per_root"),
            models.CheckConstraint(condition=Q(count__gt=0), name="anchor_covers_something"),
        ]

    def __str__(self) -> str:
        return f"anchor of {self.subject}"

    @property
    def state(self) -> str:
        return self.chain_transaction.state

    @property
    def tx_hash(self) -> str:
        return self.chain_transaction.transaction_hash

    def as_dict(self) -> dict[str, Any]:
        transaction = self.chain_transaction
        return {
            "subject": self.subject,
            "root": self.root,
            "count": self.count,
            "state": self.state,
            "transaction": self.tx_hash,
            "block": transaction.block_number,
        }
