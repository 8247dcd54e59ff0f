"""What can be proposed. Each form knows the call that its fields stand for; nothing is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django import forms
from django.utils import timezone
from eth_utils.address import is_address, to_checksum_address
from eth_utils.crypto import keccak

from openledger_site.core.money import parse_open
from rewards.chain.calls import ContractCall, approve_call
from rewards.chain.contracts import Addresses
from rewards.chain.governance import (
    HOLDING_SECONDS_MAX,
    SLASHING_CAP_BPS_MAX,
    WHOLE_BPS,
    decide_curator_call,
    set_fee_split_call,
    set_holding_call,
    set_slashing_cap_call,
    treasury_transfer_call,
)
from rewards.chain.vesting import grant_call
from rewards.vesting import Schedule

DAY_SECONDS = 86_400
SPAN_MAX_DAYS = 20 * 365  # OpenVesting.SPAN_MAX
NOWHERE = "0x" + "0" * 40


def _percent(label: str, maximum: int = 100) -> forms.DecimalField:
    return forms.DecimalField(
        label=f"{label}, %", min_value=0, max_value=maximum, max_digits=5, decimal_places=2
    )


class ActionForm(forms.Form):
    """Title and reason come last; fields of the action first."""

    title = forms.CharField(label="Title", max_length=120)
    reason = forms.CharField(
        label="Why",
        max_length=4_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text="Everybody can read it, and it stays on chain for good.",
    )

    def call(self, addresses: Addresses) -> ContractCall:
        raise NotImplementedError

    def calls(self, addresses: Addresses) -> list[ContractCall]:
        """All calls of the proposal, in order; most have one."""
        return [self.call(addresses)]

    def description(self) -> str:
        """The text on chain: a heading and the reason."""
        reason = self.cleaned_data["reason"].replace("\r\n", "\n")
        return f"# {self.cleaned_data['title']}\n\n{reason}"

    def clean_title(self) -> str:
        return " ".join(str(self.cleaned_data["title"]).split())


class FeeSplitForm(ActionForm):
    contributors = _percent("Contributors")
    builder = _percent("Builder")
    stakers = _percent("Stakers")
    platform = _percent("Platform")
    field_order = ["contributors", "builder", "stakers", "platform", "title", "reason"]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        names = ("contributors", "builder", "stakers", "platform")
        if all(name in given for name in names):
            total = sum(self.shares_bps)
            if total != WHOLE_BPS:
                raise forms.ValidationError(
                    f"The four parts make {Decimal(total) / 100} %. Make them 100 % together."
                )
        return given

    @property
    def shares_bps(self) -> list[int]:
        names = ("contributors", "builder", "stakers", "platform")
        return [int(self.cleaned_data[name] * 100) for name in names]

    def call(self, addresses: Addresses) -> ContractCall:
        return set_fee_split_call(addresses.parameters, self.shares_bps)


class HoldingForm(ActionForm):
    hours = forms.DecimalField(
        label="Hold earnings back for, hours",
        min_value=0,
        max_value=HOLDING_SECONDS_MAX // 3600,
        max_digits=6,
        decimal_places=2,
        help_text="Until then an answer can be refunded in full. A week is 168 hours.",
    )
    field_order = ["hours", "title", "reason"]

    @property
    def seconds(self) -> int:
        return int(self.cleaned_data["hours"] * 3600)

    def call(self, addresses: Addresses) -> ContractCall:
        return set_holding_call(addresses.parameters, self.seconds)


class SlashingCapForm(ActionForm):
    cap = _percent("The most that one slash may take of a stake", SLASHING_CAP_BPS_MAX // 100)
    field_order = ["cap", "title", "reason"]

    def call(self, addresses: Addresses) -> ContractCall:
        return set_slashing_cap_call(addresses.parameters, int(self.cleaned_data["cap"] * 100))


class _WalletForm(ActionForm):
    wallet = forms.CharField(
        label="Wallet", max_length=42, help_text="An address: 0x and 40 digits.", strip=True
    )

    def clean_wallet(self) -> str:
        text = str(self.cleaned_data["wallet"])
        if not is_address(text) or text.lower() == NOWHERE:
            raise forms.ValidationError("Write an address: 0x and 40 digits, with no typing error.")
        return str(to_checksum_address(text))


class TreasuryForm(_WalletForm):
    amount = forms.CharField(label="Amount in OPEN", max_length=60, help_text="For example 12.5.")
    field_order = ["wallet", "amount", "title", "reason"]

    def clean_amount(self) -> int:
        try:
            amount_wei = parse_open(self.cleaned_data["amount"])
        except ValueError as problem:
            raise forms.ValidationError(str(problem)) from problem
        if not amount_wei:
            raise forms.ValidationError("Write an amount above zero.")
        return amount_wei

    def call(self, addresses: Addresses) -> ContractCall:
        wallet, amount_wei = self.cleaned_data["wallet"], self.cleaned_data["amount"]
        return treasury_transfer_call(addresses.token, wallet, amount_wei)


class GrantForm(TreasuryForm):
    """OPEN of the treasury that unlocks over time: two calls, in one vote."""

    begins = forms.DateField(
        label="Begins",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="At midnight UTC. May have passed.",
    )
    cliff = forms.IntegerField(
        label="Nothing unlocks for, days",
        min_value=0,
        max_value=SPAN_MAX_DAYS,
        help_text="Then all that the time since the beginning has earned at once. A year is 365.",
    )
    days = forms.IntegerField(
        label="All of it unlocks over, days", min_value=1, max_value=SPAN_MAX_DAYS
    )
    field_order = ["wallet", "amount", "begins", "cliff", "days", "title", "reason"]

    def clean_begins(self) -> date:
        begins: date = self.cleaned_data["begins"]
        if abs((begins - timezone.now().date()).days) >= SPAN_MAX_DAYS:
            raise forms.ValidationError("Choose a day within twenty years of today.")
        return begins

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("cliff", 0) > given.get("days", SPAN_MAX_DAYS):
            self.add_error("cliff", "The first unlock cannot come after the end.")
        return given

    @property
    def schedule(self) -> Schedule:
        given = self.cleaned_data
        start = datetime.combine(given["begins"], time(), tzinfo=UTC)
        return Schedule(
            int(start.timestamp()), given["cliff"] * DAY_SECONDS, given["days"] * DAY_SECONDS
        )

    def calls(self, addresses: Addresses) -> list[ContractCall]:
        """The id comes from all that is asked, so the very same grant voted twice is made once."""
        wallet, amount_wei = self.cleaned_data["wallet"], self.cleaned_data["amount"]
        grant_id = keccak(text=f"{wallet} {amount_wei} {self.schedule} {self.description()}")
        return [
            approve_call(addresses.token, addresses.vesting, amount_wei),
            grant_call(addresses.vesting, bytes(grant_id), wallet, amount_wei, self.schedule),
        ]


class CuratorForm(_WalletForm):
    datanet = forms.UUIDField(
        label="Datanet",
        help_text="The id of a public Datanet, as its page shows it.",
        error_messages={"invalid": "Write the id of a Datanet, as 8-4-4-4-12 hexadecimal digits."},
    )
    decision = forms.ChoiceField(
        label="Decision", choices=[("appoint", "Appoint"), ("end", "End the appointment")]
    )
    field_order = ["datanet", "wallet", "decision", "title", "reason"]

    def call(self, addresses: Addresses) -> ContractCall:
        given = self.cleaned_data
        is_curator = given["decision"] == "appoint"
        return decide_curator_call(
            addresses.parameters, given["datanet"].bytes, given["wallet"], is_curator
        )


ACTIONS: dict[str, tuple[str, str, type[ActionForm]]] = {
    "fee-split": ("Fee split", "Who gets which part of a paid answer.", FeeSplitForm),
    "holding": ("Holding time", "How long earnings wait for a refund.", HoldingForm),
    "slashing-cap": ("Slashing cap", "The most one slash may take.", SlashingCapForm),
    "treasury": ("Treasury", "Send OPEN that the treasury holds.", TreasuryForm),
    "grant": ("Grant", "OPEN of the treasury that unlocks over time, for good.", GrantForm),
    "curator": ("Curator", "Appoint a curator of a public Datanet, or end it.", CuratorForm),
}
