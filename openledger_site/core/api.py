"""What every JSON endpoint shares."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler

from openledger_site.core.errors import DomainError


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
