"""Local services for a machine that has none: PostgreSQL, secrets, and the process supervisor."""

from __future__ import annotations
