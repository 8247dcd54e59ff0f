"""Reads of the books: balances, statements, earnings, claims, epochs. Strangers get 404."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db.models import Max, QuerySet, Sum, Window
from django.db.models.functions import Now
from django.http import Http404

from openledger_site.accounts.models import User
from openledger_site.accounts.selectors import wallets_here
from openledger_site.core.storage import blob_path
from rewards.chain.calls import ContractCall, claim_call
from rewards.merkle import PayoutTree
from rewards.models import (
    Account,
    ChainTransaction,
    Claim,
    Deposit,
    EarningLine,
    Entry,
    Epoch,
    EpochPayout,
    PayoutFreeze,
    ReconcileRun,
)

Kind = Account.Kind
PACE = timedelta(days=30)


@dataclass(frozen=True)
class EarningsSummary:
    """One person's earnings in wei. `accrued_wei` is all of them: the four others together."""

    holding_wei: int
    payable_wei: int
    claimable_wei: int
    claimed_wei: int

    @property
    def accrued_wei(self) -> int:
        return self.holding_wei + self.payable_wei + self.claimable_wei + self.claimed_wei


@dataclass(frozen=True)
class Forecast:
    """What an epoch pays once every refund window of today is over, if nothing is refunded."""

    coming_wei: int
    from_time: datetime | None
    """When the last of these windows ends; None if none is open."""
    month_wei: int
    """Earned in the last 30 days and not refunded: a pace, not a promise."""


@dataclass(frozen=True)
class Balance:
    """`available_wei` can be spent; `held_wei` is reserved for answers under way."""

    balance_wei: int
    held_wei: int

    @property
    def available_wei(self) -> int:
        return self.balance_wei - self.held_wei


@dataclass(frozen=True)
class ClaimArguments:
    """What a wallet sends to the distributor to be paid `amount_wei`."""

    account: str
    cumulative_wei: int
    amount_wei: int
    root: str
    proof: tuple[str, ...]
    distributor: str
    chain_id: int
    epoch: int

    def call(self) -> ContractCall:
        """The call that pays it; anybody may send it."""
        root = bytes.fromhex(self.root[2:])
        siblings = [bytes.fromhex(sibling[2:]) for sibling in self.proof]
        return claim_call(self.distributor, self.account, self.cumulative_wei, root, siblings)

    def as_dict(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "cumulative_wei": str(self.cumulative_wei),
            "amount_wei": str(self.amount_wei),
            "root": self.root,
            "proof": list(self.proof),
            "distributor": self.distributor,
            "chain_id": self.chain_id,
            "epoch": self.epoch,
        }


def balance_of(user: User) -> Balance:
    account = Account.objects.filter(owner=user, kind=Kind.SPENDABLE).first()
    return Balance(account.balance_wei, account.held_wei) if account else Balance(0, 0)


def spendable_wei(user: User) -> int:
    """What a person can spend now: the balance less what is on hold."""
    return balance_of(user).available_wei


def earnings_summary(user: User) -> EarningsSummary:
    balances = dict(Account.objects.filter(owner=user).values_list("kind", "balance_wei"))
    claimed = EpochPayout.objects.filter(user=user, claim__isnull=False)
    return EarningsSummary(
        holding_wei=int(balances.get(Kind.HOLDING, 0)),
        payable_wei=int(balances.get(Kind.PAYABLE, 0)),
        claimable_wei=int(balances.get(Kind.CLAIMABLE, 0)),
        claimed_wei=claimed.aggregate(total=Sum("amount_wei"))["total"] or 0,
    )


def forecast_of(user: User, summary: EarningsSummary) -> Forecast:
    lines = EarningLine.objects.filter(user=user)
    open_lines = lines.filter(state=EarningLine.State.HOLDING)
    recent = lines.exclude(state=EarningLine.State.REFUNDED).filter(
        settlement__created_at__gte=Now() - PACE
    )
    return Forecast(
        summary.holding_wei + summary.payable_wei,
        open_lines.aggregate(last=Max("matures_at"))["last"],
        int(recent.aggregate(wei=Sum("amount_wei"))["wei"] or 0),
    )


def statement_of(user: User) -> QuerySet[Any]:
    """Entries on the balance to spend, newest first, each with `balance_after_wei`."""
    return (
        Entry.objects.filter(account__owner=user, account__kind=Kind.SPENDABLE)
        .annotate(balance_after_wei=Window(Sum("amount_wei"), order_by="id"))
        .select_related("transaction")
        .order_by("-id")
    )


def statement_rows(user: User) -> Iterator[tuple[str, ...]]:
    """The whole statement as rows of text for a spreadsheet, newest first."""
    yield ("time_utc", "kind", "reason", "amount_wei", "balance_after_wei", "source", "key")
    for entry in statement_of(user).iterator(chunk_size=2_000):
        row = entry.transaction
        yield (
            row.created_at.isoformat(),
            row.kind,
            row.reason,
            str(entry.amount_wei),
            str(entry.balance_after_wei),
            row.source_url,
            row.key,
        )


def earning_lines_of(user: User) -> QuerySet[EarningLine]:
    lines = EarningLine.objects.filter(user=user).select_related("settlement")
    return lines.order_by("-id")


def deposits_of(user: User) -> QuerySet[Deposit]:
    return Deposit.objects.filter(user=user).order_by("-block_number", "-log_index")


def claims_of(user: User) -> QuerySet[Claim]:
    return Claim.objects.filter(payouts__user=user).distinct().order_by("-block_number")


def wallet_addresses_of(user: User) -> list[str]:
    """Linked wallets on this chain, the one that is paid first."""
    return list(wallets_here(user).values_list("address", flat=True))


def claims_open_for(user: User) -> list[ClaimArguments]:
    """A claim for each address that the newest active root owes this person something at."""
    epoch = Epoch.objects.filter(state=Epoch.State.ACTIVE).order_by("-number").first()
    if epoch is None:
        return []
    owed = (
        EpochPayout.objects.filter(user=user, claim__isnull=True, epoch__number__lte=epoch.number)
        .values_list("address", flat=True)
        .distinct()
    )
    tree = payout_tree(epoch.leaf_file)
    return [_claim_of(epoch, tree, address) for address in sorted(owed)]


def claimed_wei_at(address: str, chain_id: int) -> int:
    """What an address took out by claims that stand on the chain."""
    claims = Claim.objects.filter(address__iexact=address, chain_id=chain_id)
    total = claims.exclude(state=Claim.State.VOIDED).aggregate(wei=Sum("amount_wei"))["wei"]
    return int(total or 0)


def _claim_of(epoch: Epoch, tree: PayoutTree, address: str) -> ClaimArguments:
    proof = tree.proof(address)
    claimed = claimed_wei_at(address, epoch.chain_id)
    return ClaimArguments(
        account=proof.account,
        cumulative_wei=proof.cumulative_wei,
        amount_wei=proof.cumulative_wei - claimed,
        root=epoch.root,
        proof=tuple("0x" + sibling.hex() for sibling in proof.siblings),
        distributor=epoch.distributor,
        chain_id=epoch.chain_id,
        epoch=epoch.number,
    )


@lru_cache(maxsize=4)
def payout_tree(leaf_file: str) -> PayoutTree:
    """The tree of a published leaf list, rebuilt from that file alone."""
    content = json.loads(blob_path(leaf_file).read_bytes())
    return PayoutTree.build(
        {account: int(amount) for account, amount in content["leaves"]},
        chain_id=content["chain_id"],
        distributor=content["distributor"],
    )


def epochs() -> QuerySet[Epoch]:
    """All epochs, newest first; they are public."""
    return Epoch.objects.order_by("-number")


def epoch_by(number: int) -> Epoch:
    epoch = Epoch.objects.filter(number=number).first()
    if epoch is None:
        raise Http404("No such epoch.")
    return epoch


def leaf_file_of(epoch: Epoch) -> bytes:
    return blob_path(epoch.leaf_file).read_bytes()


def last_reconcile() -> ReconcileRun | None:
    return ReconcileRun.objects.order_by("-id").first()


def payout_freeze() -> PayoutFreeze | None:
    return PayoutFreeze.objects.filter(lifted_at__isnull=True).first()


def epoch_transactions(epoch: Epoch) -> QuerySet[ChainTransaction]:
    """What we sent to the chain for an epoch, in order."""
    return ChainTransaction.objects.filter(
        chain_id=epoch.chain_id, subject=f"epoch:{epoch.number}"
    ).order_by("pk")
