from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from openledger_site.accounts.models import User
from openledger_site.accounts.services import API_KEY_SCOPES


class ProfileForm(forms.Form):
    display_name = forms.CharField(
        max_length=60,
        label="Name",
        help_text="What others see beside your contributions. Your email address stays hidden.",
    )


class CloseAccountForm(forms.Form):
    """Asks for the password where there is one: an open browser is not enough to end an account."""

    rows = forms.ChoiceField(
        label="Your rows",
        choices=[
            ("withdraw", "Withdraw them: their text is destroyed everywhere"),
            ("keep", "Leave them where they are, under the licence that I gave"),
        ],
        widget=forms.RadioSelect,
    )

    def __init__(self, user: User, *given: Any) -> None:
        super().__init__(*given)
        self._user = user
        if user.has_usable_password():
            self.fields["proof"] = forms.CharField(
                label="Password",
                widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
            )
        else:
            self.fields["proof"] = forms.CharField(
                label="Type “close my account”",
                widget=forms.TextInput(attrs={"autocomplete": "off"}),
            )

    def clean_proof(self) -> str:
        given = str(self.cleaned_data["proof"])
        if self._user.has_usable_password():
            if not self._user.check_password(given):
                raise forms.ValidationError("This is not your password.")
        elif given.strip().strip("“”\"'").casefold() != "close my account":
            raise forms.ValidationError("Type the words as they stand there.")
        return given


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
