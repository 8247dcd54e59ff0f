"""allauth's rules where ours differ."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth ships no types
    def save_user(self, request: Any, user: Any, form: Any, commit: bool = True) -> Any:
        """Keep an address out of the `email` column's empty string, which is not unique."""
        user = super().save_user(request, user, form, commit=False)
        user.email = user.email or None
        user.display_name = form.cleaned_data.get("display_name", "")
        if commit:
            user.save()
        return user
