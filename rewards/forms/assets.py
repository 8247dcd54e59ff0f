from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms

BPS_PER_PERCENT = 100


class AssetForm(forms.Form):
    """Which wallet gets the token, and what its maker gets of later sales."""

    royalty = forms.DecimalField(
        label="Royalty in per cent",
        min_value=Decimal(0),
        max_value=Decimal(10),
        decimal_places=2,
        initial=Decimal(5),
        help_text="What you ask of each later sale (ERC-2981). Marketplaces may or may not pay it.",
    )

    def __init__(self, addresses: Sequence[str], *given: Any) -> None:
        super().__init__(*given)
        choices = [(address, address) for address in addresses]
        self.fields["address"] = forms.ChoiceField(label="Wallet", choices=choices)
        self.order_fields(["address", "royalty"])

    def clean_royalty(self) -> int:
        """In hundredths of a per cent."""
        return int(self.cleaned_data["royalty"] * BPS_PER_PERCENT)
