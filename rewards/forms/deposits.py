from __future__ import annotations

from typing import Any

from django import forms

from openledger_site.core.money import parse_open


class DepositForm(forms.Form):
    """How much the wallet is asked for. The wallet sends it, so nothing is posted to the site."""

    amount = forms.CharField(
        label="Amount in OPEN",
        max_length=60,
        help_text="For example 12 or 0.5.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def clean_amount(self) -> int:
        text: Any = self.cleaned_data["amount"]
        try:
            amount_wei = parse_open(text)
        except ValueError as problem:
            raise forms.ValidationError(str(problem)) from problem
        if amount_wei == 0:
            raise forms.ValidationError("Write an amount above zero.")
        return amount_wei
