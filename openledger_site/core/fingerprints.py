"""Hashes of what somebody sent, kept to know it again, that confirm no guess of it.

A plain hash of a form with a private row, or of a question that was erased, would. These are keyed
by the operator's secret; what was kept under an earlier one (`SECRET_KEY_FALLBACKS`), or before
there were keys, is still known.
"""

from __future__ import annotations

from django.conf import settings
from django.utils.crypto import salted_hmac

from openledger_site.core.sealing import keyed_form


def keyed_fingerprint(plain: str, use: str) -> str:
    """The form in which a SHA-256 in hex is kept for one use."""
    return _keyed(plain, use, settings.SECRET_KEY)


def is_fingerprint(stored: str, plain: str, use: str) -> bool:
    """Whether it was kept of the same thing, now or earlier."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return stored == plain or any(stored == _keyed(plain, use, secret) for secret in secrets)


def _keyed(plain: str, use: str, secret: str) -> str:
    digits = salted_hmac(f"openledger {use}", plain, secret=secret, algorithm="sha256").hexdigest()
    return keyed_form(digits)
