"""Files on their way in. Only who sends one knows of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from datanets.models import Contribution, Datanet, ResumableUpload
from datanets.selectors.access import first_or_404


def uploads_of(user: Any, datanet: Datanet | None = None) -> QuerySet[ResumableUpload]:
    """A person's own uploads that have not expired, newest first; of one Datanet or of all."""
    rows = ResumableUpload.objects.filter(owner=user.pk, expires_at__gt=Now())
    return rows if datanet is None else rows.filter(datanet=datanet)


def upload_for(user: Any, public_id: UUID) -> ResumableUpload:
    """404 for anybody but its owner."""
    found: ResumableUpload = first_or_404(uploads_of(user).filter(public_id=public_id), "upload")
    return found


def files_of(user: Any, after: UUID | None = None) -> QuerySet[Contribution]:
    """What a person gave and did not withdraw, the newest first; after one of them, or all."""
    rows = Contribution.objects.filter(contributor=user.pk).exclude(
        state=Contribution.State.WITHDRAWN
    )
    if after is not None:
        last = first_or_404(rows.filter(public_id=after), "file")
        rows = rows.filter(pk__lt=last.pk)
    return rows.select_related("datanet").order_by("-pk")
