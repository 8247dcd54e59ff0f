from __future__ import annotations

from django.http import HttpRequest

from openledger_site.accounts.models import User


def signed_in_user(request: HttpRequest) -> User:
    """The user of a view behind the login middleware, with the type that says so."""
    if not isinstance(request.user, User):
        raise TypeError("A view without @login_not_required was reached without signing in.")
    return request.user
