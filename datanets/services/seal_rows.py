"""Store rows as their Datanet asks: sealed and under keyed hashes where it is private, else plain.

What is stored today is: this is for rows from before there were seals or keyed hashes (decisions
0039 and 0050), and for Datanets whose visibility was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import pgtrigger
from django.apps import apps
from django.db import models, transaction
from django.db.models import Q

from datanets.checks.duplicates import near_keys, stored_keys
from datanets.content import content_hash, prompt_fingerprint, row_fingerprint, whole_text
from datanets.models import DataKey, Datanet, Record, RecordKey
from datanets.models.sealed import (
    KeyedHashField,
    SealedBinaryField,
    SealedJSONField,
    SealedTextField,
    keyer_for,
)
from datanets.selectors import content_of
from datanets.services.store_rows import record_keys
from openledger_site.core.audit import record_audit
from openledger_site.core.sealing import KEYED_MARK, TEXT_MARK

ROWS_AT_ONCE = 500
Change = Callable[[Sequence[Record]], None]


def seal_plain_rows() -> int:
    """Returns how many rows were sealed; a batch is a transaction, so it can be broken off."""
    total = 0
    for datanet in Datanet.objects.filter(visibility=Datanet.Visibility.PRIVATE):
        for rows in _rows_of(datanet):
            total += _write_anew(rows.filter(_plain(rows.model)), datanet, "sealed", _key)
    return total


def open_sealed_rows() -> int:
    """The other way round, where a Datanet is private no more: its rows are searched and compared
    as others are. What was withdrawn keeps its keyed hash, of which no text is left.
    """
    total = 0
    keyed = DataKey.objects.filter(use=DataKey.Use.ROWS).values("datanet")
    for datanet in Datanet.objects.filter(pk__in=keyed).exclude(
        visibility=Datanet.Visibility.PRIVATE
    ):
        for rows in _rows_of(datanet):
            wanted = _sealed(rows.model)
            if rows.model is Record:
                wanted &= ~Q(state=Record.State.WITHDRAWN)
            total += _write_anew(rows.filter(wanted), datanet, "opened", _make_plain)
    return total


def _rows_of(datanet: Datanet) -> Iterator[models.QuerySet[Any]]:
    for model in apps.get_models():
        if way := getattr(model, "sealed_through", ""):
            before, _, _ = way.rpartition("__")
            rows = model._default_manager.filter(**{way: datanet})
            yield rows.select_related(before) if before else rows


def _write_anew(rows: models.QuerySet[Any], datanet: Datanet, said: str, change: Change) -> int:
    """Saving a row writes it as its fields store it; its content stays what it is."""
    columns, total, last = _columns(rows.model), 0, 0
    while True:
        with pgtrigger.ignore("datanets.Record:record_content_never_changes"), transaction.atomic():
            if rows.model is Record:  # first, as whoever withdraws rows or cuts a version does
                Datanet.objects.select_for_update(no_key=True).get(pk=datanet.pk)
            locked = rows.filter(pk__gt=last).select_for_update(of=("self",))
            batch = list(locked.order_by("pk")[:ROWS_AT_ONCE])
            if not batch:
                return total
            for row in batch:
                _lead_to(row, datanet)
            if rows.model is Record:
                change(batch)
            for row in batch:
                row.save(update_fields=columns)
            subject = f"datanet:{datanet.public_id}"
            record_audit(f"rows.{said}", actor="store", subject=subject, rows=len(batch))
        total, last = total + len(batch), batch[-1].pk


def _lead_to(row: Any, datanet: Datanet) -> None:
    """This object, which keeps the keys, and not one of each row's own."""
    *way, name = row.sealed_through.split("__")
    setattr(reduce(getattr, way, row), name, datanet)


def _key(records: Sequence[Record]) -> None:
    """Key what they are found again by; their hashes are when they are saved."""
    plain = RecordKey.objects.filter(record__in=records, kind__in=RecordKey.KEYED)
    found = list(plain.values_list("record", "kind", "key"))
    plain.delete()
    keyer = keyer_for(records[0].datanet)  # theirs all: rows of one Datanet are written at a time
    stored = ((pk, *RecordKey.stored(kind, key, keyer)) for pk, kind, key in found)
    RecordKey.objects.bulk_create(
        (RecordKey(record_id=pk, kind=kind, key=key) for pk, kind, key in stored),
        batch_size=5_000,
    )


def _make_plain(records: Sequence[Record]) -> None:
    """Compute from the text what keyed hashes do not give back."""
    contents = [content_of(record) for record in records]
    for record, content in zip(records, contents, strict=True):
        record.content_hash = content_hash(content)
        record.fingerprint = row_fingerprint(content)
        record.prompt_fingerprint = prompt_fingerprint(content)
    RecordKey.objects.filter(record__in=records).delete()
    bands = near_keys([whole_text(content) for content in contents])
    made = (
        record_keys(record, stored_keys(own), None)
        for record, own in zip(records, bands, strict=True)
    )
    RecordKey.objects.bulk_create((key for keys in made for key in keys), batch_size=5_000)


def _plain(model: type[models.Model]) -> Q:
    """Some column holds something that is neither sealed nor keyed."""
    found = Q(pk__in=[])
    for name, mark in _marks(model):
        nothing = Q(**{f"{name}__in": [[], {}]}) if mark.startswith('"') else Q(**{name: ""})
        found |= ~nothing & ~Q(**{f"{name}__startswith": mark})
    return found


def _sealed(model: type[models.Model]) -> Q:
    """Some column holds a sealed text."""
    found = Q(pk__in=[])
    for name, mark in _marks(model):
        if mark != KEYED_MARK:
            found |= Q(**{f"{name}__startswith": mark})
    return found


def _marks(model: type[models.Model]) -> Iterator[tuple[str, str]]:
    """What each column begins with that is stored as of a private row; JSON is in quotes.

    A salt is not asked about: it was always stored together with its row's hashes.
    """
    for field in model._meta.fields:
        if isinstance(field, SealedTextField):
            yield field.name, TEXT_MARK
        elif isinstance(field, SealedJSONField):
            yield field.name, f'"{TEXT_MARK}'
        elif isinstance(field, KeyedHashField):
            yield field.name, KEYED_MARK


def _columns(model: type[models.Model]) -> list[str]:
    kinds = (SealedTextField, SealedJSONField, SealedBinaryField, KeyedHashField)
    return [field.name for field in model._meta.fields if isinstance(field, kinds)]
