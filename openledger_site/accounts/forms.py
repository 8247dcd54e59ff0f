from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from openledger_site.accounts.services import API_KEY_SCOPES


class ProfileForm(forms.Form):
    display_name = forms.CharField(
        max_length=60,
        label="Name",
        help_text="What others see beside your contributions. Your email address stays hidden.",
    )


class ApiKeyForm(forms.Form):
    name = forms.CharField(max_length=60, help_text="So that you know it again: “laptop”, “agent”.")
    scopes = forms.MultipleChoiceField(
        choices=list(API_KEY_SCOPES.items()),
        widget=forms.CheckboxSelectMultiple,
        initial=["inference"],
        label="What it may do",
    )
    lifetime_days = forms.TypedChoiceField(
        choices=[(30, "30 days"), (90, "90 days"), (365, "one year"), (0, "until I revoke it")],
        coerce=int,
        initial=90,
        label="Works for",
    )

    def key_fields(self) -> dict[str, Any]:
        days = self.cleaned_data["lifetime_days"]
        return {
            "name": self.cleaned_data["name"],
            "scopes": self.cleaned_data["scopes"],
            "expires_at": timezone.now() + timedelta(days=days) if days else None,
        }
