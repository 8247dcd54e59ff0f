"""What went wrong, for people and for programs.

Services raise a `DomainError` subclass named after the fact. One middleware turns it into an error
envelope for programs, a fragment for htmx, or a page: `{"error": {"code", "message", "where", "limit"}}`.
"""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler


class DomainError(Exception):
    """A refusal the user can act on. `message` is shown as it is: plain words and what to do next."""

    status = 422
    code = "refused"
    message = "This cannot be done."

    def __init__(
        self, message: str = "", *, where: str = "", limit: int | str | None = None, code: str = ""
    ) -> None:
        self.message = message or self.message
        self.where = where
        self.limit = limit
        self.code = code or self.code
        super().__init__(self.message)

    def envelope(self) -> dict[str, Any]:
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "where": self.where,
                "limit": self.limit,
            }
        }


class NotAllowed(DomainError):
    """The person may see the thing but not do this with it."""

    status = 403
    code = "not_allowed"


class Conflict(DomainError):
    """Somebody else, or an earlier request, got there first."""

    status = 409
    code = "conflict"


class Unavailable(DomainError):
    """A part of the system is away; the same request may work later."""

    status = 503
    code = "unavailable"


class PaymentRequired(DomainError):
    status = 402
    code = "payment_required"


def api_exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Give every API refusal the one envelope."""
    if isinstance(exc, DomainError):
        return Response(exc.envelope(), status=exc.status)
    response = exception_handler(exc, context)
    if response is not None:
        detail = response.data
        if isinstance(detail, dict) and set(detail) == {"detail"}:
            message, where = str(detail["detail"]), ""
        else:
            where = next(iter(detail), "") if isinstance(detail, dict) else ""
            message = str(detail)
        code = getattr(exc, "default_code", "invalid")
        response.data = DomainError(message, where=str(where), code=str(code)).envelope()
    return response
