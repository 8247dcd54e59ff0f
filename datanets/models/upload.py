"""A file on its way in: sent in parts, kept until it is given to a Datanet or expires."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from datanets.models.datanet import Datanet
from datanets.models.sealed import SealedTextField


class ResumableUpload(models.Model):
    """One file of one person for one Datanet, by the tus protocol (tus.io, version 1.0.0).

    `offset_bytes` is only raised after those bytes are on disk, so that after any crash the file
    holds at least as much as the row says; what it holds beyond is cut off by the next part.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads"
    )
    datanet = models.ForeignKey(Datanet, on_delete=models.CASCADE, related_name="uploads")
    # Shown only: never a path, never trusted.
    filename = models.CharField(max_length=120, blank=True)
    size_bytes = models.PositiveBigIntegerField(help_text="Announced when it began.")
    offset_bytes = models.PositiveBigIntegerField(default=0, help_text="On disk for certain.")
    # What the sender said the whole file would hash to; empty when nothing was said.
    expected_digest = SealedTextField(blank=True)
    digest = SealedTextField(blank=True, help_text="SHA-256 of what arrived, once all of it has.")
    expires_at = models.DateTimeField(db_index=True)
    created_at = models.DateTimeField(db_default=Now())

    sealed_through = "datanet"

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(offset_bytes__lte=models.F("size_bytes")),
                name="upload_holds_no_more_than_announced",
            ),
            models.CheckConstraint(
                condition=models.Q(digest="") | models.Q(offset_bytes=models.F("size_bytes")),
                name="only_a_whole_upload_has_a_digest",
            ),
        ]

    def __str__(self) -> str:
        return f"upload {self.public_id}"

    def sealed_place(self) -> str:
        return str(self.public_id)

    @property
    def complete(self) -> bool:
        return bool(self.digest)
