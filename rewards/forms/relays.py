from __future__ import annotations

from django import forms


class RelayForm(forms.Form):
    """What a page asks to have sent; each action reads the fields that it needs."""

    action = forms.CharField(max_length=20)
    account = forms.CharField(max_length=42)
    amount = forms.CharField(max_length=60, required=False)
    amount_wei = forms.CharField(max_length=78, required=False)
    target = forms.CharField(max_length=66, required=False)
    delegatee = forms.CharField(max_length=42, required=False)
    proposal = forms.CharField(max_length=78, required=False)
    support = forms.CharField(max_length=1, required=False)
