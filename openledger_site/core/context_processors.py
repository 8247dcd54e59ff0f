from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """What every page shows: the version, and where the chain is."""
    return {
        "site_version": settings.VERSION,
        "chain_id": settings.CHAIN_ID,
        "debug": settings.DEBUG,
    }
