"""Double entry in wei. The database refuses whatever would unbalance it; see `triggers`."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models import triggers


class Account(models.Model):
    """Where wei are. Amounts owed to somebody are positive; `custody` mirrors the chain below 0."""

    class Kind(models.TextChoices):
        SPENDABLE = "spendable", "Balance to spend"
        HOLDING = "holding", "Earned, in the refund window"
        PAYABLE = "payable", "Earned, for the next epoch"
        CLAIMABLE = "claimable", "Ready to claim on chain"
        CUSTODY = "custody", "Held by the contracts"
        FEES = "fees", "Platform fees"
        RELAY = "relay", "Network fees paid in OPEN"
        STAKERS = "stakers", "Stakers' pool"
        STAKERS_DUE = "stakers_due", "On its way to the stakers"
        WITHDRAWING = "withdrawing", "On its way to wallets"
        RESERVE = "reserve", "Contributors' reserve"
        DUST = "dust", "Rounding"
        UNASSIGNED = "unassigned", "Deposits of unlinked wallets"
        REORG_DEBT = "reorg_debt", "Owed after a chain reorganisation"

    PERSONAL = (Kind.SPENDABLE, Kind.HOLDING, Kind.PAYABLE, Kind.CLAIMABLE)
    BELOW_ZERO = (Kind.CUSTODY, Kind.REORG_DEBT)

    code = models.CharField(max_length=80)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="accounts"
    )
    kind = models.CharField(max_length=12, choices=Kind)
    balance_wei = WeiField(default=0)
    held_wei = WeiField(default=0, help_text="Part of the balance that pending holds reserve.")
    opened_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = triggers.ACCOUNT_TRIGGERS
        constraints = [
            # As for a transaction's key: `unique=True` would add a second index, for LIKE.
            models.UniqueConstraint(fields=["code"], name="account_once_per_code"),
            models.CheckConstraint(
                condition=Q(kind__in=["custody", "reorg_debt"]) | Q(balance_wei__gte=0),
                name="account_never_below_zero",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["custody", "reorg_debt"]) | Q(balance_wei__lte=0),
                name="account_that_mirrors_never_above_zero",
            ),
            models.CheckConstraint(
                condition=Q(held_wei=0)
                | Q(kind="spendable", held_wei__gt=0, held_wei__lte=F("balance_wei")),
                name="account_holds_at_most_its_balance",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["spendable", "holding", "payable", "claimable"], owner__isnull=False
                )
                | (
                    ~Q(kind__in=["spendable", "holding", "payable", "claimable"])
                    & Q(owner__isnull=True)
                ),
                name="account_has_an_owner_if_personal",
            ),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def available_wei(self) -> int:
        return int(self.balance_wei - self.held_wei)


class Transaction(models.Model):
    """Two or more entries that sum to zero, written together or not at all."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key = models.CharField(max_length=200, help_text="Once per key, whoever retries.")
    kind = models.CharField(max_length=30)
    reason = models.CharField(max_length=200)
    source_url = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    written_by = models.BigIntegerField(
        default=0, editable=False, help_text="Id of the database transaction; set by a trigger."
    )

    class Meta:
        triggers = triggers.TRANSACTION_TRIGGERS
        constraints = [
            # Not `unique=True`, which adds a second index for LIKE that every posting would write.
            models.UniqueConstraint(fields=["key"], name="transaction_once_per_key")
        ]
        # By day, for the daily closing: a summary of blocks, which costs a posting nothing.
        indexes = [BrinIndex(fields=["created_at"], name="transaction_day", autosummarize=True)]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Entry(models.Model):
    """One leg: so many wei into (or, below zero, out of) one account.

    The keys have no index of their own: `entry_once_per_account` and `entry_statement` begin with
    them, and every entry pays for every index.
    """

    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, related_name="entries", db_index=False
    )
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="entries", db_index=False
    )
    amount_wei = WeiField()

    class Meta:
        triggers = triggers.ENTRY_TRIGGERS
        constraints = [
            models.CheckConstraint(condition=~Q(amount_wei=0), name="entry_moves_something"),
            models.UniqueConstraint(
                fields=["transaction", "account"], name="entry_once_per_account"
            ),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="entry_statement")]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei of {self.transaction_id} on {self.account_id}"


class Hold(models.Model):
    """Wei reserved for an answer under way: posted or voided, exactly once."""

    class State(models.TextChoices):
        PENDING = "pending"
        POSTED = "posted"
        VOIDED = "voided"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key = models.CharField(max_length=200, unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="holds")
    amount_wei = WeiField()
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    reason = models.CharField(max_length=200)
    transaction = models.OneToOneField(
        Transaction, null=True, on_delete=models.PROTECT, related_name="hold"
    )
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        triggers = triggers.HOLD_TRIGGERS
        constraints = [
            models.CheckConstraint(condition=Q(amount_wei__gt=0), name="hold_reserves_something"),
            models.CheckConstraint(
                condition=Q(state="posted", transaction__isnull=False)
                | (~Q(state="posted") & Q(transaction__isnull=True)),
                name="hold_posted_by_a_transaction",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", resolved_at__isnull=True)
                | (~Q(state="pending") & Q(resolved_at__isnull=False)),
                name="hold_resolved_at_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="pending"), name="hold_expiry")
        ]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei for {self.key} ({self.state})"
