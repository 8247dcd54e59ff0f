"""A contributor's objection to a rejection: the row goes back to the queue, for a curator only."""

from __future__ import annotations

from django.db import transaction

from datanets.models import Appeal, Contribution, Record
from datanets.selectors.quality import may_appeal
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError


def appeal_rejection(*, record: Record, contributor: User, text: str) -> Appeal:
    """Once a row, within `APPEAL_DAYS`. Raises `DomainError` (no text), `Conflict` (too late)."""
    if not text.strip():
        raise DomainError("Say why the row should be kept.", where="text")
    with transaction.atomic():
        row = Record.objects.select_for_update(of=("self",)).get(pk=record.pk)
        if not may_appeal(row):
            raise Conflict("This row cannot be appealed: not rejected, too long ago, or appealed.")
        appeal = Appeal.objects.create(record=row, text=text.strip()[:1_000])
        Record.objects.filter(pk=row.pk).update(state=Record.State.PENDING, escalated=True)
        Contribution.objects.filter(
            pk=row.contribution_id, state=Contribution.State.DECIDED
        ).update(state=Contribution.State.IN_REVIEW)
        record_audit("record.appeal", actor=contributor, subject=f"datanet:{row.datanet.public_id}")
    return appeal
