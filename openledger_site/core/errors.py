"""What went wrong, for people and for programs.

Services raise a `DomainError` subclass named after the fact. One middleware answers with an
envelope for programs (`{"error": {"code", "message", "where", "limit"}}`), a fragment for htmx, or
a page for everybody else.
"""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """A refusal the user can act on. `message` is shown as it is: plain words, what to do next."""

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
