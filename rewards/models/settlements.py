"""What one paid answer was worth to whom, and by which parameters."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.governance import ParameterChange
from rewards.models.ledger import Hold, Transaction
from rewards.models.triggers import append_only, never_deleted

PARTS_PER_MILLION = 1_000_000


class SplitParameters(models.Model):
    """How a fee is split, in parts per million, and how long earnings wait.

    Version 1 is what the site began with. Every later one repeats a vote that became final on
    chain, and is in force from some epoch on unless that vote's block left the chain.
    """

    version = models.PositiveIntegerField(unique=True)
    change = models.OneToOneField(
        ParameterChange, null=True, on_delete=models.PROTECT, related_name="parameters"
    )
    effective_from_epoch = models.PositiveIntegerField(default=1)
    holding_seconds = models.PositiveIntegerField(
        null=True, help_text="Empty until a vote decides: EARNINGS_HOLDING_SECONDS."
    )
    contributors_ppm = models.PositiveIntegerField(default=700_000)
    builder_ppm = models.PositiveIntegerField(default=200_000)
    stakers_ppm = models.PositiveIntegerField(default=50_000)
    platform_ppm = models.PositiveIntegerField(default=50_000)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "split parameters"
        triggers = [
            append_only("split_parameters_are_append_only"),
            pgtrigger.Trigger(
                name="split_parameters_repeat_a_vote",
                operation=pgtrigger.Insert,
                when=pgtrigger.Before,
                func="""
                    IF NEW.change_id IS NOT NULL AND NOT EXISTS (
                        SELECT 1 FROM rewards_parameterchange vote
                         WHERE vote.id = NEW.change_id AND vote.state = 'counted'
                           AND NEW.effective_from_epoch >= vote.from_epoch
                           AND (NEW.contributors_ppm, NEW.builder_ppm, NEW.stakers_ppm,
                                NEW.platform_ppm, NEW.holding_seconds)
                             = (vote.contributors_bps * 100, vote.builder_bps * 100,
                                vote.stakers_bps * 100, vote.platform_bps * 100,
                                vote.holding_seconds)) THEN
                        RAISE EXCEPTION 'parameters differ from the vote' USING ERRCODE = '23514';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(version=1, change__isnull=True)
                | Q(version__gt=1, change__isnull=False),
                name="split_parameters_come_from_a_vote",
            ),
            models.CheckConstraint(
                condition=Q(
                    contributors_ppm=PARTS_PER_MILLION
                    - F("builder_ppm")
                    - F("stakers_ppm")
                    - F("platform_ppm")
                ),
                name="split_parameters_sum_to_a_million",
            ),
        ]

    def __str__(self) -> str:
        return f"split parameters {self.version}"

    @property
    def holding_seconds_in_force(self) -> int:
        """How long earnings wait for a refund, in seconds."""
        if self.holding_seconds is None:
            return int(settings.EARNINGS_HOLDING_SECONDS)
        return self.holding_seconds

    def as_dict(self) -> dict[str, int]:
        """As printed on a receipt."""
        return {
            "version": self.version,
            "effective_from_epoch": self.effective_from_epoch,
            "holding_seconds": self.holding_seconds_in_force,
            "contributors_ppm": self.contributors_ppm,
            "builder_ppm": self.builder_ppm,
            "stakers_ppm": self.stakers_ppm,
            "platform_ppm": self.platform_ppm,
        }


class Settlement(models.Model):
    """One paid answer. The parts sum to the fee to the wei, and the database checks it (I7)."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key = models.CharField(max_length=200, unique=True)
    hold = models.OneToOneField(Hold, on_delete=models.PROTECT, related_name="settlement")
    transaction = models.OneToOneField(
        Transaction, null=True, on_delete=models.PROTECT, related_name="settlement"
    )
    refund = models.OneToOneField(
        Transaction, null=True, on_delete=models.PROTECT, related_name="refunded_settlement"
    )
    payer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="settlements_paid"
    )
    parameters = models.ForeignKey(SplitParameters, on_delete=models.PROTECT)
    fee_wei = WeiField()
    contributors_wei = WeiField()
    reserve_wei = WeiField(help_text="The contributors' part, when no source was attributable.")
    builder_wei = WeiField()
    stakers_wei = WeiField()
    platform_wei = WeiField()
    dust_wei = WeiField()
    maker_wei = WeiField(
        default=0, db_default=0, help_text="What the agent's maker asked on top; it is not split."
    )
    reason = models.CharField(max_length=200)
    source_url = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [never_deleted("settlement_is_kept")]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    fee_wei=F("contributors_wei")
                    + F("reserve_wei")
                    + F("builder_wei")
                    + F("stakers_wei")
                    + F("platform_wei")
                    + F("dust_wei")
                    + F("maker_wei")
                ),
                name="settlement_parts_sum_to_the_fee",
            ),
            models.CheckConstraint(
                condition=Q(fee_wei=0, transaction__isnull=True)
                | Q(fee_wei__gt=0, transaction__isnull=False),
                name="settlement_posted_if_it_cost_something",
            ),
        ]

    def __str__(self) -> str:
        return f"settlement {self.key}"


class EarningLine(models.Model):
    """What one person earned from one answer. Held back through the refund window, then payable."""

    class Role(models.TextChoices):
        CONTRIBUTOR = "contributor"
        BUILDER = "builder"
        MAKER = "maker"

    class State(models.TextChoices):
        HOLDING = "holding"
        PAYABLE = "payable"
        REFUNDED = "refunded"

    settlement = models.ForeignKey(Settlement, on_delete=models.PROTECT, related_name="lines")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="earning_lines"
    )
    role = models.CharField(max_length=11, choices=Role)
    amount_wei = WeiField()
    state = models.CharField(max_length=8, choices=State, default=State.HOLDING)
    matures_at = models.DateTimeField()
    moved_by = models.ForeignKey(
        Transaction, null=True, on_delete=models.PROTECT, related_name="earning_lines"
    )

    class Meta:
        triggers = [never_deleted("earning_line_is_kept")]
        constraints = [
            models.CheckConstraint(condition=Q(amount_wei__gt=0), name="earning_is_something"),
            models.UniqueConstraint(
                fields=["settlement", "user", "role"], name="earning_once_per_role"
            ),
            models.CheckConstraint(
                condition=Q(state="holding", moved_by__isnull=True)
                | (~Q(state="holding") & Q(moved_by__isnull=False)),
                name="earning_moved_by_a_transaction",
            ),
        ]
        indexes = [
            models.Index(
                fields=["matures_at"], condition=Q(state="holding"), name="earning_release"
            ),
            models.Index(fields=["user", "-id"], name="earning_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei to {self.user_id} as {self.role}"
