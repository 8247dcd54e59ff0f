"""How much of a balance goes back, and to which linked wallet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from openledger_site.core.form_fields import OpenField


class WithdrawForm(forms.Form):
    amount = OpenField(
        label="OPEN to withdraw",
        widget=forms.TextInput(
            attrs={"inputmode": "decimal", "autocomplete": "off", "maxlength": 60}
        ),
    )

    def __init__(self, addresses: Sequence[str], *given: Any) -> None:
        super().__init__(*given)
        self.auto_id = "withdraw_%s"  # a deposit's amount is on the same page
        choices = [(address, address) for address in addresses]
        self.fields["address"] = forms.ChoiceField(label="To your wallet", choices=choices)
