"""API keys on requests: `Authorization: Bearer ol_live_…`. No cookies, so no CSRF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from openledger_site.accounts.models import ApiKey, User
from openledger_site.accounts.services import authenticate_api_key

if TYPE_CHECKING:  # importing views here would go round in a circle with DRF's settings
    from rest_framework.views import APIView


class ApiKeyAuthentication(BaseAuthentication):
    """Sets `request.user` to the key's owner and `request.auth` to the key."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = authenticate_api_key(secret.strip())
        if key is None:
            raise AuthenticationFailed("This API key is unknown, revoked or expired.")
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """A key needs the view's `required_scope`; a signed-in session has every scope."""

    message = "This API key may not do this. Make one with the right scope."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiKey):
            return request.user.is_authenticated
        return getattr(view, "required_scope", None) in request.auth.scopes
