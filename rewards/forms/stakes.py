"""What a stake or a slash asks for. The wallet sends a stake, so nothing of it is posted here."""

from __future__ import annotations

from typing import Any

from django import forms

from openledger_site.core.form_fields import OpenField
from openledger_site.core.money import format_open
from rewards.chain.staking import STAKE_MIN_WEI


def _amount(label: str) -> OpenField:
    return OpenField(
        label=label,
        widget=forms.TextInput(
            attrs={"inputmode": "decimal", "autocomplete": "off", "maxlength": 60}
        ),
    )


class StakeForm(forms.Form):
    amount = _amount("Amount in OPEN")

    def clean_amount(self) -> int:
        amount_wei: Any = self.cleaned_data["amount"]
        if amount_wei < STAKE_MIN_WEI:
            raise forms.ValidationError(
                f"Stake at least {format_open(STAKE_MIN_WEI)} OPEN at once."
            )
        return int(amount_wei)


class SlashForm(forms.Form):
    """A slash after a dispute that somebody decided."""

    amount = _amount("OPEN to slash")
    decision = forms.CharField(
        label="The decision and what it rests on",
        min_length=20,
        max_length=8_000,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="The owner and the stakers can read it. Its hash goes on chain.",
    )

    def clean_amount(self) -> int:
        amount_wei: Any = self.cleaned_data["amount"]
        if amount_wei == 0:
            raise forms.ValidationError("Write an amount above zero.")
        return int(amount_wei)

    def clean_decision(self) -> str:
        return str(self.cleaned_data["decision"]).replace("\r\n", "\n")


class OverturnForm(forms.Form):
    reason = forms.CharField(
        label="Why the appeal is right", max_length=4_000, widget=forms.Textarea(attrs={"rows": 3})
    )


class AppealForm(forms.Form):
    words = forms.CharField(
        label="Why this slash is wrong",
        min_length=20,
        max_length=4_000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="The arbiters read it, as do the owner and the stakers. Once a person.",
    )
