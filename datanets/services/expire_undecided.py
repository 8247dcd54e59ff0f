"""Delete contributions that their contributor never decided about."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from datanets.models import Contribution
from datanets.services.kept_files import discard_file
from openledger_site.core.audit import record_audit

AT_ONCE_MAX = 1_000


def expire_undecided() -> int:
    """Delete those that waited for the whole time, files included; returns how many.

    They hold what nobody but the contributor may see, personal data among it: nothing of them is
    kept but a line in the audit log, with numbers and no text.
    """
    return sum(_delete(pk) for pk in _overdue().values_list("pk", flat=True)[:AT_ONCE_MAX])


def _overdue() -> QuerySet[Contribution]:
    days = timedelta(days=settings.CONTRIBUTION_UNDECIDED_DAYS)
    return Contribution.objects.filter(undecided_since__lte=timezone.now() - days)


def _delete(pk: int) -> bool:
    with transaction.atomic():
        # Skipped where its contributor decides at this moment; asked again under the lock.
        rows = _overdue().select_for_update(of=("self",), skip_locked=True)
        row = rows.filter(pk=pk).first()
        if row is None:
            return False
        discard_file(row)
        row.delete()
        record_audit(
            "contribution.expired",
            actor="store",
            subject=f"contribution:{row.public_id}",
            state=row.state,
            rows=row.rows_read,
            size_bytes=row.size_bytes,
        )
    return True
