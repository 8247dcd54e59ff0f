"""A Datanet's card: what its owner says about the rows, in answers to fixed questions."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from datanets.models.datanet import Datanet

ANSWER_CHARACTERS_MAX = 3_000


class DatanetCard(models.Model):
    """One answer a question, plain text; an empty answer is a question that is still open."""

    datanet = models.OneToOneField(
        Datanet, on_delete=models.CASCADE, related_name="card", primary_key=True
    )
    purpose = models.TextField(max_length=ANSWER_CHARACTERS_MAX, blank=True)
    collection = models.TextField(max_length=ANSWER_CHARACTERS_MAX, blank=True)
    languages = models.CharField(max_length=200, blank=True)
    limits = models.TextField(max_length=ANSWER_CHARACTERS_MAX, blank=True)
    intended_use = models.TextField(max_length=ANSWER_CHARACTERS_MAX, blank=True)
    excluded_use = models.TextField(max_length=ANSWER_CHARACTERS_MAX, blank=True)
    maintenance = models.TextField(max_length=ANSWER_CHARACTERS_MAX, blank=True)
    contact = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(db_default=Now())
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    def __str__(self) -> str:
        return f"card of Datanet {self.datanet_id}"
