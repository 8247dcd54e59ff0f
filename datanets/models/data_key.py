"""The key of a Datanet's kept files, itself encrypted by a key of the operator's."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now

from datanets.models.datanet import Datanet


class DataKey(models.Model):
    """Opens the files that contributors of one Datanet sent. Deleting the row destroys them."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    datanet = models.OneToOneField(Datanet, on_delete=models.CASCADE, related_name="data_key")
    wrapped = models.BinaryField(help_text="Under the operator's key; never in the clear.")
    wrapped_by = models.CharField(max_length=16, help_text="Which of the operator's keys.")
    created_at = models.DateTimeField(db_default=Now())
    rotated_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"data key {self.public_id}"
