"""The books to look at. Nothing here can be added, changed or deleted by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from openledger_site.core import admin as core
from openledger_site.core.money import format_open
from rewards import models
from rewards.selectors.relays import relay_books


class ReadOnlyAdmin(core.ReadOnlyAdmin):
    actions: Any = None


class EntryInline(admin.TabularInline[Any, Any]):
    model = models.Entry
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(models.Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ["code", "kind", "balance_wei", "held_wei"]
    list_filter = ["kind"]
    search_fields = ["code", "owner__email"]


@admin.register(models.Transaction)
class TransactionAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "kind", "key", "reason"]
    list_filter = ["kind"]
    search_fields = ["key", "reason"]
    inlines = [EntryInline]


@admin.register(models.Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ["key", "account", "amount_wei", "state", "expires_at"]
    list_filter = ["state"]
    search_fields = ["key"]


@admin.register(models.Settlement)
class SettlementAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "key", "payer", "fee_wei", "contributors_wei", "builder_wei"]
    search_fields = ["key"]


@admin.register(models.EarningLine)
class EarningLineAdmin(ReadOnlyAdmin):
    list_display = ["settlement", "user", "role", "amount_wei", "state", "matures_at"]
    list_filter = ["state", "role"]


@admin.register(models.Deposit)
class DepositAdmin(ReadOnlyAdmin):
    list_display = ["block_number", "address", "amount_wei", "state", "user"]
    list_filter = ["state"]
    search_fields = ["address", "transaction_hash"]


@admin.register(models.Claim)
class ClaimAdmin(ReadOnlyAdmin):
    list_display = ["block_number", "address", "amount_wei", "state"]
    list_filter = ["state"]
    search_fields = ["address", "transaction_hash"]


@admin.register(models.ChainTransaction)
class ChainTransactionAdmin(ReadOnlyAdmin):
    list_display = ["purpose", "subject", "state", "nonce", "transaction_hash", "problem"]
    list_filter = ["state", "purpose"]
    search_fields = ["subject", "transaction_hash"]


@admin.register(models.Relay)
class RelayAdmin(ReadOnlyAdmin):
    """What was sent for people who pay the fee in OPEN, with the books of it in the title."""

    list_display = ["created_at", "action", "account", "state", "quoted_wei", "cost_wei", "fee_wei"]
    list_filter = ["state", "action"]
    search_fields = ["account", "user__email"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        books = relay_books()
        title = (
            f"Network fees: {format_open(books.earned_wei)} OPEN earned,"
            f" {format_open(books.spent_eth_wei)} ETH spent"
            f" ({format_open(books.spent_wei)} OPEN at the rates of then),"
            f" {books.surplus_wei:,} wei over, {format_open(books.at_stake_wei)} OPEN at stake"
        )
        return super().changelist_view(request, (extra_context or {}) | {"title": title})


@admin.register(models.SignedPayment)
class SignedPaymentAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "payer", "amount_wei", "source", "user"]
    list_filter = ["source"]
    search_fields = ["payer", "nonce"]


@admin.register(models.RefundRequest)
class RefundRequestAdmin(ReadOnlyAdmin):
    """What waits for a decision; each is decided on its own page, with a reason."""

    list_display = ["created_at", "state", "reason", "fee_wei", "asked_by", "decide_by", "page"]
    list_filter = ["state", "reason"]
    list_select_related = ["settlement", "asked_by"]

    @admin.display(description="Fee (wei)")
    def fee_wei(self, request: models.RefundRequest) -> int:
        return int(request.settlement.fee_wei)

    @admin.display(description="Page")
    def page(self, request: models.RefundRequest) -> str:
        # A link upwards by address: money imports nobody.
        url = reverse("marketplace:refund", args=[request.public_id])
        return format_html('<a href="{}">decide</a>', url)


@admin.register(models.Epoch)
class EpochAdmin(ReadOnlyAdmin):
    list_display = ["number", "state", "amount_wei", "total_wei", "leaves", "problem"]
    list_filter = ["state"]


@admin.register(models.ReconcileRun)
class ReconcileRunAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "ok", "unexplained_wei"]
    list_filter = ["ok"]


@admin.register(models.PayoutFreeze)
class PayoutFreezeAdmin(ReadOnlyAdmin):
    """The one thing a person decides here: payouts go on after somebody looked."""

    list_display = ["created_at", "reason", "lifted_at"]
    actions = ["lift"]

    def has_lift_permission(self, request: HttpRequest) -> bool:
        """Nothing is edited here; who may change a freeze may lift it, who may look may not."""
        return request.user.has_perm("rewards.change_payoutfreeze")

    @admin.action(permissions=["lift"], description="Lift the freeze: the difference is explained")
    def lift(self, request: HttpRequest, queryset: QuerySet[models.PayoutFreeze]) -> None:
        queryset.filter(lifted_at__isnull=True).update(lifted_at=Now())


@admin.register(models.Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display = ["title", "state", "vote_start", "vote_end", "read_at"]
    list_filter = ["state"]


@admin.register(models.SlashCase)
class SlashCaseAdmin(ReadOnlyAdmin):
    """Announced and overturned on the target's own page; here only to look at."""

    list_display = ["subject", "amount_wei", "state", "decided_by", "overturned_by"]
    list_filter = ["state"]


@admin.register(models.IncomeRound)
class IncomeRoundAdmin(ReadOnlyAdmin):
    list_display = ["number", "state", "targets_wei", "treasury_wei", "problem"]
    list_filter = ["state"]


@admin.register(models.IncomePayment)
class IncomePaymentAdmin(ReadOnlyAdmin):
    list_display = ["round", "subject", "amount_wei", "state"]
    list_filter = ["state"]


@admin.register(models.StakeEvent)
class StakeEventAdmin(ReadOnlyAdmin):
    list_display = ["block_number", "kind", "account", "amount_wei", "state"]
    list_filter = ["kind", "state"]
    search_fields = ["target", "account", "transaction_hash"]


@admin.register(models.Asset)
class AssetAdmin(ReadOnlyAdmin):
    list_display = ["subject", "maker", "holder", "royalty_bps"]
    search_fields = ["subject", "token_id", "holder"]


@admin.register(models.AssetTransfer)
class AssetTransferAdmin(ReadOnlyAdmin):
    list_display = ["block_number", "token_id", "sender", "receiver", "state"]
    list_filter = ["state"]
    search_fields = ["token_id", "receiver", "transaction_hash"]


@admin.register(models.VestingGrant)
class VestingGrantAdmin(ReadOnlyAdmin):
    list_display = ["block_number", "owner", "allocation_wei", "released_wei", "state"]
    list_filter = ["state"]
    search_fields = ["beneficiary", "owner", "wallet", "transaction_hash"]


@admin.register(models.VestingEvent)
class VestingEventAdmin(ReadOnlyAdmin):
    list_display = ["block_number", "kind", "wallet", "amount_wei", "state"]
    list_filter = ["kind", "state"]
    search_fields = ["wallet", "account", "transaction_hash"]


@admin.register(models.Withdrawal)
class WithdrawalAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "user", "address", "amount_wei", "state", "debt_wei"]
    list_filter = ["state"]
    search_fields = ["user__email", "address", "escrow_id"]


@admin.register(models.Reputation)
class ReputationAdmin(ReadOnlyAdmin):
    list_display = ["user", "score", "payers", "voices", "rejections", "faults", "measured_at"]
    ordering = ["-score"]


@admin.register(models.DailyClosing)
class DailyClosingAdmin(ReadOnlyAdmin):
    list_display = ["day", "transactions", "entries", "digest", "closed_at"]


@admin.register(models.SlashAppeal)
class SlashAppealAdmin(ReadOnlyAdmin):
    list_display = ["case", "by", "as_whom", "created_at"]


admin.site.register(
    [
        models.SplitParameters,
        models.ParameterChange,
        models.CuratorDecision,
        models.GovernanceReading,
        models.ChainCursor,
        models.Anchor,
        models.EscrowWithdrawal,
        models.StakeTarget,
        models.StakePosition,
        models.StakeUnbonding,
        models.StakerShare,
        models.StakingReading,
    ],
    ReadOnlyAdmin,
)
