"""The audit log: append-only, each entry sealed with the hash of the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from openledger_site.core.models import AuditEntry

GENESIS_HASH = "0" * 64
_LOCK = 0x0A0D17  # any constant: names this chain among Postgres advisory locks


def record_audit(action: str, *, actor: Any, subject: str, **data: Any) -> AuditEntry:
    """Append an entry inside the caller's transaction. `data` holds ids and numbers, never text.

    Writers queue on one lock until their transaction ends, so the chain has no forks: call it last.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record_audit needs an open transaction.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    last = AuditEntry.objects.order_by("-number").first()
    entry = AuditEntry(
        number=last.number + 1 if last else 1,
        at=timezone.now().isoformat(),
        actor=f"user:{actor.pk}" if getattr(actor, "pk", None) else str(actor or "system"),
        action=action,
        subject=subject,
        data=data,
        previous_hash=last.hash if last else GENESIS_HASH,
    )
    entry.hash = entry_hash(entry)
    entry.save(force_insert=True)
    return entry


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over the canonical JSON (sorted keys, no spaces) of everything but the hash."""
    content = {
        name: getattr(entry, name)
        for name in ("number", "at", "actor", "action", "subject", "data", "previous_hash")
    }
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":"), default=str).encode()
    ).hexdigest()


@dataclass(frozen=True)
class AuditReport:
    ok: bool
    entries: int
    head: str
    first_bad: int | None


def verify_audit(entries: Iterable[AuditEntry] | None = None) -> AuditReport:
    """Walk the chain from the first entry; name the first one that does not fit."""
    previous, count = GENESIS_HASH, 0
    for entry in entries or AuditEntry.objects.order_by("number").iterator():
        count += 1
        fits = entry.number == count and entry.previous_hash == previous
        if not fits or entry.hash != entry_hash(entry):
            return AuditReport(ok=False, entries=count, head=previous, first_bad=entry.number)
        previous = entry.hash
    return AuditReport(ok=True, entries=count, head=previous, first_bad=None)
