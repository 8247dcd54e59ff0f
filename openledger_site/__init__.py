"""The composition root: settings, URLs, and the two things every app may use (accounts, core)."""

from __future__ import annotations

# Loaded with Django, so that the web process knows every task by name.
from openledger_site.celery import app as celery_app

__all__ = ["celery_app"]
