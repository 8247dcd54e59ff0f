"""Public reads of the whole network: sums over the books, look-ups, and what one address was paid.

Whatever is hidden is left out of the query; a look-up answers hidden and unknown things alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.http import Http404
from django.urls import reverse

from rewards.chain.contracts import Addresses
from rewards.models import (
    ChainTransaction,
    Claim,
    ContractReading,
    EarningLine,
    Epoch,
    EpochPayout,
    Settlement,
    StakingReading,
)
from rewards.selectors.anchors import described, visible_anchors
from rewards.selectors.money import claimed_wei_at
from rewards.selectors.vesting import grants

_HASH, _ADDRESS = re.compile(r"0x[0-9a-f]{64}"), re.compile(r"0x[0-9a-fA-F]{40}")
_PARTS = ("fee_wei", "contributors_wei", "builder_wei", "stakers_wei", "maker_wei")


@dataclass(frozen=True)
class Flow:
    """Paid answers and where their fees went, in wei; the rest went to platform and reserve."""

    answers: int
    fee_wei: int
    contributors_wei: int
    builder_wei: int
    stakers_wei: int
    maker_wei: int
    month: datetime | None = None

    @property
    def rest_wei(self) -> int:
        parts = self.contributors_wei + self.builder_wei + self.stakers_wei + self.maker_wei
        return self.fee_wei - parts

    @property
    def shares(self) -> list[dict[str, Any]]:
        """For `share_bar`."""
        return [
            {"label": "Contributors", "value": self.contributors_wei},
            {"label": "Builders", "value": self.builder_wei},
            {"label": "Stakers", "value": self.stakers_wei},
            {"label": "Makers of agents", "value": self.maker_wei},
            {"label": "Platform and reserve", "value": self.rest_wei},
        ]


@dataclass(frozen=True)
class Network:
    """All of it since the beginning; `people` earned something, `claimed_wei` is in wallets.

    `months` are those with a paid answer, the newest first.
    """

    months: list[Flow]
    people: int
    claimed_wei: int
    staked_wei: int

    @property
    def flow(self) -> Flow:
        months = self.months
        return Flow(
            answers=sum(month.answers for month in months),
            fee_wei=sum(month.fee_wei for month in months),
            contributors_wei=sum(month.contributors_wei for month in months),
            builder_wei=sum(month.builder_wei for month in months),
            stakers_wei=sum(month.stakers_wei for month in months),
            maker_wei=sum(month.maker_wei for month in months),
        )


@dataclass(frozen=True)
class ContractLine:
    """One contract of ours; `reading` is None until its code was compared."""

    name: str
    address: str
    chain_id: int
    reading: ContractReading | None


@dataclass(frozen=True)
class AddressPay:
    """What an address was given by epochs and what it claimed, as the public leaf lists say."""

    address: str
    total_wei: int
    claimed_wei: int
    payouts: QuerySet[EpochPayout]

    @property
    def open_wei(self) -> int:
        return self.total_wei - self.claimed_wei


def network() -> Network:
    staking = StakingReading.objects.filter(chain_id=settings.CHAIN_ID).first()
    claimed = Claim.objects.filter(state=Claim.State.PAID).aggregate(wei=Sum("amount_wei"))["wei"]
    earned = EarningLine.objects.exclude(state=EarningLine.State.REFUNDED)
    return Network(
        _months(),
        earned.aggregate(people=Count("user", distinct=True))["people"],
        int(claimed or 0),
        staking.total_staked_wei if staking else 0,
    )


def _months() -> list[Flow]:
    """Paid answers that were not refunded, read once: a public page sums a whole table here."""
    rows = (
        Settlement.objects.filter(fee_wei__gt=0, refund__isnull=True)
        .annotate(month=TruncMonth("created_at"))
        .values_list("month")
        .annotate(Count("pk"), *(Sum(part) for part in _PARTS))
        .order_by("-month")
    )
    return [
        Flow(answers, int(fee), int(contributors), int(builder), int(stakers), int(makers), month)
        for month, answers, fee, contributors, builder, stakers, makers in rows
    ]


def contract_lines(addresses: Addresses) -> list[ContractLine]:
    read = ContractReading.objects.filter(chain_id=addresses.chain_id)
    readings = {reading.address: reading for reading in read}
    return [
        ContractLine(
            name,
            address,
            addresses.chain_id,
            readings.get(address),
        )
        for name, address in addresses.by_name().items()
    ]


def address_pay(address: str) -> AddressPay:
    """404 for an address that no epoch paid."""
    paid = EpochPayout.objects.filter(address__iexact=address, epoch__chain_id=settings.CHAIN_ID)
    total = paid.aggregate(wei=Sum("amount_wei"))["wei"]
    if total is None:
        raise Http404("No such address.")
    claimed = claimed_wei_at(address, settings.CHAIN_ID)
    rows = paid.select_related("epoch").order_by("-epoch__number")
    written = rows.values_list("address", flat=True)[0]
    return AddressPay(written, int(total), claimed, rows)


def look_up(user: Any, text: str, addresses: Addresses | None) -> str:
    """The address of the page about a root, transaction, leaf list, address or epoch number, or ""
    where there is none that this person may see."""
    sought = text.strip()
    if sought.isdecimal() and len(sought) < 10:
        return _epoch_page(Q(number=int(sought)))
    if _ADDRESS.fullmatch(sought):
        return _address_page(sought, addresses)
    sought = sought.lower()
    if re.fullmatch(r"[0-9a-f]{64}", sought) and (page := _epoch_page(Q(leaf_file=sought))):
        return page
    sought = sought if sought.startswith("0x") else f"0x{sought}"
    if not _HASH.fullmatch(sought):
        return ""
    return _epoch_page(Q(root=sought)) or _sent_page(user, sought)


def _epoch_page(condition: Q) -> str:
    epoch = Epoch.objects.filter(condition).order_by("-number").first()
    return reverse("rewards:epoch-detail", args=[epoch.number]) if epoch else ""


def _address_page(address: str, addresses: Addresses | None) -> str:
    if addresses and address.lower() in map(str.lower, addresses.by_name().values()):
        return reverse("rewards:contract-list")
    if grants().filter(wallet__iexact=address).exists():
        return reverse("rewards:unlock-list")
    if EpochPayout.objects.filter(address__iexact=address).exists():
        return reverse("rewards:address-detail", args=[address])
    return ""


def _sent_page(user: Any, sought: str) -> str:
    """A root, or the transaction that carries an anchor or an epoch."""
    hashes = Q(transaction_hash=sought) | Q(earlier_hashes__contains=[sought])
    anchors = visible_anchors(user).filter(
        Q(root=sought) | Q(chain_transaction__in=ChainTransaction.objects.filter(hashes))
    )
    for _, _, url in described(user, list(anchors[:1])):
        return url
    sent = ChainTransaction.objects.filter(hashes, subject__startswith="epoch:")
    for row in sent[:1]:
        return _epoch_page(Q(number=int(row.subject.split(":")[1])))
    return ""
