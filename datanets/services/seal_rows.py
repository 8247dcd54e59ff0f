"""Seal the rows of private Datanets that were stored before rows were sealed."""

from __future__ import annotations

import pgtrigger
from django.apps import apps
from django.db import models, transaction
from django.db.models import Q

from datanets.models import Datanet
from datanets.models.sealed import SealedJSONField, SealedTextField
from openledger_site.core.audit import record_audit
from openledger_site.core.sealing import TEXT_MARK

ROWS_AT_ONCE = 500


def seal_plain_rows() -> int:
    """Returns how many rows were sealed; a batch is a transaction, so it can be broken off."""
    sealed = [model for model in apps.get_models() if hasattr(model, "sealed_through")]
    total = 0
    for datanet in Datanet.objects.filter(visibility=Datanet.Visibility.PRIVATE):
        for model in sealed:
            rows = model._default_manager.filter(**{model.sealed_through: datanet})
            total += _seal(rows.filter(_plain(model)), datanet)
    return total


def _seal(plain: models.QuerySet[models.Model], datanet: Datanet) -> int:
    """Saving a row writes it as its fields store it; its content stays what it is."""
    columns, total = _columns(plain.model), 0
    while True:
        with transaction.atomic(), pgtrigger.ignore("datanets.Record:record_content_never_changes"):
            batch = list(plain.select_for_update(of=("self",)).order_by("pk")[:ROWS_AT_ONCE])
            for row in batch:
                row.save(update_fields=columns)
            if batch:
                subject = f"datanet:{datanet.public_id}"
                record_audit("rows.sealed", actor="store", subject=subject, rows=len(batch))
        total += len(batch)
        if len(batch) < ROWS_AT_ONCE:
            return total


def _plain(model: type[models.Model]) -> Q:
    """Some column holds something that is not sealed."""
    found = Q(pk__in=[])
    for name in _columns(model):
        if isinstance(model._meta.get_field(name), SealedTextField):
            found |= ~Q(**{name: ""}) & ~Q(**{f"{name}__startswith": TEXT_MARK})
        else:
            found |= ~Q(**{f"{name}__in": [[], {}]}) & ~Q(
                **{f"{name}__startswith": f'"{TEXT_MARK}'}
            )
    return found


def _columns(model: type[models.Model]) -> list[str]:
    sealed = (SealedTextField, SealedJSONField)
    return [field.name for field in model._meta.fields if isinstance(field, sealed)]
