"""Stakes as the chain says them, and the stakers' part of each fee on its way to them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.chain import ChainEvent, ChainPlace, ChainTransaction, once_per_place
from rewards.models.ledger import Transaction
from rewards.models.settlements import Settlement
from rewards.models.triggers import never_deleted


class StakeEvent(ChainPlace):
    """What OpenStaking said. Written once its block is final, voided when the block is gone."""

    class Kind(models.TextChoices):
        STAKED = "staked", "Staked"
        UNBONDING = "unbonding", "Leaving began"
        WITHDRAWN = "withdrawn", "Taken out"
        INCOME = "income", "Income paid in"
        COLLECTED = "collected", "Income taken"
        ANNOUNCED = "announced", "Slash announced"
        OVERTURNED = "overturned", "Slash overturned"
        SLASHED = "slashed", "Slashed"

    class State(models.TextChoices):
        STANDING = "standing"
        UNKNOWN = "unknown", "fits no payment of the books"
        VOIDED = "voided"

    kind = models.CharField(max_length=10, choices=Kind)
    target = models.CharField(max_length=66)
    account = models.CharField(max_length=42, blank=True)
    amount_wei = WeiField(default=0)
    shares = WeiField(default=0)
    unbonding_number = WeiField(null=True)
    due_at = models.DateTimeField(null=True, help_text="When it can be taken out or carried out.")
    evidence = models.CharField(max_length=66, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.STANDING)
    transaction = models.ForeignKey(
        Transaction, null=True, on_delete=models.PROTECT, related_name="stake_events"
    )

    class Meta:
        triggers = [never_deleted("stake_event_is_kept")]
        constraints = once_per_place("stake_event")
        indexes = [
            models.Index(fields=["target", "-block_number"], name="stake_event_of_target"),
            models.Index(fields=["account", "-block_number"], name="stake_event_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount_wei} wei ({self.state})"


class StakeTarget(models.Model):
    """One target as the contract had it at `read_block`; `is_stale` when something happened since.

    `subject` is the text whose keccak-256 is the target; empty while only the chain knows it.
    """

    chain_id = models.BigIntegerField()
    target = models.CharField(max_length=66)
    subject = models.CharField(max_length=120, blank=True)
    bonded_wei = WeiField(default=0)
    bonded_shares = WeiField(default=0)
    unbonding_wei = WeiField(default=0)
    unbonding_shares = WeiField(default=0)
    income_index = WeiField(default=0)
    slash_wei = WeiField(default=0)
    slash_evidence = models.CharField(max_length=66, blank=True)
    slash_executable_at = models.DateTimeField(null=True)
    read_block = models.BigIntegerField(null=True)
    is_stale = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "target"], name="stake_target_once")
        ]
        indexes = [models.Index(fields=["subject"], name="stake_target_subject")]

    def __str__(self) -> str:
        return self.subject or self.target

    @property
    def all_wei(self) -> int:
        """Bonded and leaving: what a slash can reach."""
        return int(self.bonded_wei + self.unbonding_wei)


class StakePosition(models.Model):
    """What one wallet has bonded on one target, as the contract keeps it."""

    chain_id = models.BigIntegerField()
    target = models.CharField(max_length=66)
    account = models.CharField(max_length=42)
    shares = WeiField(default=0)
    income_index = WeiField(default=0)
    income_owed_wei = WeiField(default=0)
    read_block = models.BigIntegerField(null=True)
    is_stale = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "target", "account"], name="stake_position_once"
            )
        ]
        indexes = [models.Index(fields=["account"], name="stake_position_of_account")]

    def __str__(self) -> str:
        return f"{self.shares} shares of {self.account}"


class StakeUnbonding(models.Model):
    """One stake on its way out. No shares are left once it was taken out."""

    chain_id = models.BigIntegerField()
    number = WeiField()
    target = models.CharField(max_length=66)
    account = models.CharField(max_length=42)
    shares = WeiField(default=0)
    releasable_at = models.DateTimeField()
    read_block = models.BigIntegerField(null=True)
    is_stale = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "number"], name="stake_unbonding_once")
        ]
        indexes = [models.Index(fields=["account"], name="stake_unbonding_of_account")]

    def __str__(self) -> str:
        return f"unbonding {self.number} of {self.account}"


class StakingReading(models.Model):
    """The contract's own rules and totals, as last read; one row a chain."""

    chain_id = models.BigIntegerField(primary_key=True)
    unbonding_seconds = models.BigIntegerField()
    appeal_seconds = models.BigIntegerField()
    total_staked_wei = WeiField()
    total_income_wei = WeiField()
    is_solvent = models.BooleanField()
    read_block = models.BigIntegerField()
    read_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"staking on chain {self.chain_id} at {self.read_block}"


class EscrowWithdrawal(ChainEvent):
    """OPEN that left the escrow by an operator's call, and what for.

    `float` is on its way to the stakers and still in custody, in the operator's wallet; `treasury`
    and what a `person` took back have left the books.
    """

    class State(models.TextChoices):
        FLOAT = "float"
        TREASURY = "treasury"
        PERSON = "person"
        UNKNOWN = "unknown"
        VOIDED = "voided"

    withdrawal_id = models.CharField(max_length=66)
    state = models.CharField(max_length=8, choices=State)
    transaction = models.ForeignKey(
        Transaction, null=True, on_delete=models.PROTECT, related_name="escrow_withdrawals"
    )

    class Meta:
        triggers = [never_deleted("escrow_withdrawal_is_kept")]
        constraints = once_per_place("escrow_withdrawal")

    def __str__(self) -> str:
        return f"{self.amount_wei} wei to {self.address} ({self.state})"


class IncomeRound(models.Model):
    """One payment of the stakers' part: taken from the escrow, then paid in target by target."""

    class State(models.TextChoices):
        PLANNED = "planned", "planned, being taken from the escrow"
        TAKEN = "taken", "taken, being approved"
        APPROVED = "approved", "approved, being paid in"
        DONE = "done", "paid in"

    number = models.PositiveIntegerField(primary_key=True)
    chain_id = models.BigIntegerField()
    staking = models.CharField(max_length=42)
    treasury = models.CharField(max_length=42)
    state = models.CharField(max_length=8, choices=State, default=State.PLANNED)
    targets_wei = WeiField(help_text="To be paid in for targets with stakers.")
    treasury_wei = WeiField(help_text="For what nobody staked on.")
    withdraw_wei = WeiField(help_text="Taken from the escrow; less when a rest was left.")
    problem = models.CharField(max_length=200, blank=True)
    planned_at = models.DateTimeField(db_default=Now())
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        triggers = [never_deleted("income_round_is_kept")]
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=~Q(state="done"), name="income_round_one_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(withdraw_wei__gte=0, withdraw_wei__lte=F("targets_wei")),
                name="income_round_takes_what_it_pays",
            ),
        ]

    def __str__(self) -> str:
        return f"round {self.number} ({self.state})"


class IncomePayment(models.Model):
    """What one round pays to one target, or to the treasury (`target` empty)."""

    class State(models.TextChoices):
        DUE = "due", "on its way"
        PAID = "paid"
        RETURNED = "returned", "back in the pool"

    round = models.ForeignKey(IncomeRound, on_delete=models.PROTECT, related_name="payments")
    target = models.CharField(max_length=66, blank=True)
    subject = models.CharField(max_length=120, blank=True)
    amount_wei = WeiField()
    state = models.CharField(max_length=8, choices=State, default=State.DUE)
    transaction = models.OneToOneField(
        Transaction, on_delete=models.PROTECT, related_name="income_payment"
    )
    chain_transaction = models.OneToOneField(
        ChainTransaction, null=True, on_delete=models.PROTECT, related_name="income_payment"
    )

    class Meta:
        triggers = [never_deleted("income_payment_is_kept")]
        constraints = [
            models.UniqueConstraint(
                fields=["round", "target"], name="income_once_per_round_and_target"
            ),
            models.CheckConstraint(condition=Q(amount_wei__gt=0), name="income_is_something"),
        ]
        indexes = [models.Index(fields=["target"], name="income_payment_of_target")]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei for {self.subject or 'the treasury'} ({self.state})"


class StakerShare(models.Model):
    """Which target the stakers' part of one answer is for. `payment` is empty while it waits."""

    settlement = models.ForeignKey(
        Settlement, on_delete=models.PROTECT, related_name="staker_shares"
    )
    subject = models.CharField(
        max_length=120, blank=True, help_text="Empty: the answer named nobody; the treasury's."
    )
    amount_wei = WeiField()
    matures_at = models.DateTimeField(help_text="End of the refund window.")
    payment = models.ForeignKey(
        IncomePayment, null=True, on_delete=models.PROTECT, related_name="shares"
    )

    class Meta:
        triggers = [never_deleted("staker_share_is_kept")]
        constraints = [
            models.UniqueConstraint(
                fields=["settlement", "subject"], name="staker_share_once_per_subject"
            ),
            models.CheckConstraint(condition=Q(amount_wei__gt=0), name="staker_share_is_something"),
        ]
        indexes = [
            models.Index(
                fields=["matures_at"],
                condition=Q(payment__isnull=True),
                name="staker_share_waiting",
            ),
            models.Index(fields=["subject"], name="staker_share_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei for {self.subject}"


class SlashCase(models.Model):
    """A decided dispute that is to cost a target stake. Its words are public to who is concerned;
    on chain stands their hash."""

    class State(models.TextChoices):
        DECIDED = "decided", "decided, being announced"
        ANNOUNCED = "announced", "announced, open to appeal"
        OVERTURNED = "overturned"
        EXECUTED = "executed", "carried out"
        FAILED = "failed", "refused by the contract"

    OPEN = (State.DECIDED, State.ANNOUNCED)

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    chain_id = models.BigIntegerField()
    target = models.CharField(max_length=66)
    subject = models.CharField(max_length=120)
    amount_wei = WeiField()
    decision = models.TextField(help_text="What was decided, and on what it rests.")
    evidence = models.CharField(max_length=66, help_text="Keccak-256 of the decision's text.")
    # Whose it was when this was decided: the fault stays with them. Empty before reputation.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="slashes_suffered",
    )
    state = models.CharField(max_length=10, choices=State, default=State.DECIDED)
    executable_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="slashes_decided"
    )
    overturned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="slashes_overturned",
    )
    overturn_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [never_deleted("slash_case_is_kept")]
        permissions = [
            ("decide_slash", "Can announce a slash after a decided dispute"),
            ("overturn_slash", "Can overturn a slash on appeal"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "evidence"],
                condition=~Q(state="failed"),
                name="slash_once_per_decision",
            ),
            models.CheckConstraint(condition=Q(amount_wei__gt=0), name="slash_is_something"),
            models.CheckConstraint(
                condition=Q(overturned_by__isnull=True) | ~Q(overturned_by=F("decided_by")),
                name="slash_is_not_overturned_by_its_author",
            ),
        ]

    def __str__(self) -> str:
        return f"slash of {self.amount_wei} wei on {self.subject} ({self.state})"

    @property
    def is_stranded(self) -> bool:
        """Overturned here, and the chain would not have it any more."""
        was_overturned = self.overturned_by_id is not None
        return self.state == self.State.ANNOUNCED and was_overturned and bool(self.problem)
