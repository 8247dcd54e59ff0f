"""What the site sent for people who paid the network fee in OPEN."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.chain import ChainTransaction
from rewards.models.ledger import Hold, Transaction
from rewards.models.triggers import never_deleted
from rewards.relay_fees import FeeTerms


class Relay(models.Model):
    """One transaction that the site sent for a wallet, and who paid for it.

    `hold` reserves the most that it can cost. Only a deposit may be without one until its OPEN is
    credited: then the fee is held out of the deposit, in the transaction that credits it.
    """

    class Action(models.TextChoices):
        DEPOSIT = "deposit", "deposit"
        STAKE = "stake", "stake"
        CLAIM = "claim", "claim"
        DELEGATE = "delegate", "delegation"
        VOTE = "vote", "vote"

    class State(models.TextChoices):
        PENDING = "pending", "on its way"
        DONE = "done", "done"
        REVERTED = "reverted", "refused by the contract"
        DROPPED = "dropped", "not sent"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="relays"
    )
    chain_id = models.BigIntegerField()
    account = models.CharField(max_length=42, help_text="Whose signature it carries, EIP-55.")
    action = models.CharField(max_length=8, choices=Action)
    quote_digest = models.CharField(max_length=64, unique=True, help_text="A quote works once.")
    authorization_nonce = models.CharField(max_length=66, blank=True)
    gas_limit = models.BigIntegerField()
    max_fee_per_gas_wei = WeiField()
    open_per_eth = models.BigIntegerField()
    quoted_wei = WeiField(help_text="The most that it can cost, in wei of OPEN.")
    hold = models.OneToOneField(Hold, null=True, on_delete=models.PROTECT, related_name="relay")
    chain_transaction = models.OneToOneField(
        ChainTransaction, on_delete=models.PROTECT, related_name="relay"
    )
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    gas_cost_wei = WeiField(null=True, help_text="What it cost the site, in wei of ETH.")
    cost_wei = WeiField(null=True, help_text="The same in wei of OPEN.")
    fee_wei = WeiField(null=True, help_text="What was paid for it, in wei of OPEN.")
    transaction = models.OneToOneField(
        Transaction, null=True, on_delete=models.PROTECT, related_name="relay"
    )
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chain_id", "account"],
                condition=Q(state="pending"),
                name="relay_one_at_a_time_per_wallet",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", cost_wei=None, fee_wei=None, ended_at=None)
                | (
                    ~Q(state="pending")
                    & Q(cost_wei__gte=0, fee_wei__gte=0, gas_cost_wei__gte=0)
                    & Q(ended_at__isnull=False)
                ),
                name="relay_costs_are_known_at_its_end",
            ),
            models.CheckConstraint(
                condition=Q(fee_wei=None)
                | (Q(fee_wei__lte=F("quoted_wei")) & Q(fee_wei__lte=F("cost_wei"))),
                name="relay_takes_at_most_its_cost_and_quote",
            ),
            models.CheckConstraint(
                condition=Q(fee_wei=None, transaction=None)
                | Q(fee_wei=0, transaction=None)
                | Q(fee_wei__gt=0, transaction__isnull=False, hold__isnull=False),
                name="relay_fee_is_a_posting_of_its_hold",
            ),
            models.CheckConstraint(
                condition=Q(action="deposit") | Q(hold__isnull=False),
                name="relay_without_a_hold_is_a_deposit",
            ),
            models.CheckConstraint(
                condition=Q(gas_limit__gt=0, max_fee_per_gas_wei__gt=0, open_per_eth__gt=0),
                name="relay_has_a_price",
            ),
        ]
        indexes = [models.Index(fields=["-created_at"], name="relay_by_time")]
        triggers = [
            never_deleted("relay_is_kept"),
            pgtrigger.Protect(
                name="relay_keeps_its_terms",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    "user", "chain_id", "account", "action", "quote_digest",
                    "authorization_nonce", "gas_limit", "max_fee_per_gas_wei", "open_per_eth",
                    "quoted_wei", "chain_transaction",
                ),
            ),
            pgtrigger.Trigger(
                name="relay_ends_once",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                condition=pgtrigger.Q(old__state__in=["done", "reverted", "dropped"]),
                func="RAISE EXCEPTION 'relay % has ended', OLD.id USING ERRCODE = '23514';",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.action} for {self.account} ({self.state})"

    @property
    def terms(self) -> FeeTerms:
        return FeeTerms(int(self.gas_limit), int(self.max_fee_per_gas_wei), int(self.open_per_eth))
