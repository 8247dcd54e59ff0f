"""Write down who opened the rows of a Datanet that is not public (once a day and reader), and who
trained on them.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from datanets.models import Datanet, Version
from openledger_site.core.audit import record_audit
from openledger_site.core.models import AuditEntry

OPENED, TRAINED = "rows.opened", "rows.trained"


def note_reading(*, reader: Any, datanet: Datanet) -> None:
    """Add today's entry unless it is there. Call it where rows of others are about to be shown."""
    if datanet.visibility == Datanet.Visibility.PUBLIC or not reader.is_authenticated:
        return
    subject = f"datanet:{datanet.public_id}"
    today = timezone.now().date().isoformat()
    noted = AuditEntry.objects.filter(
        subject=subject, action=OPENED, actor=f"user:{reader.pk}", at__gte=today
    )
    if noted.exists():
        return
    with transaction.atomic():
        record_audit(OPENED, actor=reader, subject=subject)


def note_training(*, trainer: Any, version: Version) -> None:
    """One entry for each run. Call it in the transaction that starts the run."""
    if version.datanet.visibility != Datanet.Visibility.PUBLIC:
        subject = f"datanet:{version.datanet.public_id}"
        record_audit(
            TRAINED, actor=trainer, subject=subject, version=version.number,
            rows=version.train_count,
        )  # fmt: skip
