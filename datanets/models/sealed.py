"""Fields whose text is encrypted in the database where its Datanet is private (decision 0039).

A model that has one says which way leads to its Datanet (`sealed_through`, as in a query) and where
a text stands (`sealed_place`). Reading opens what is sealed wherever a query returns the column;
writing seals on `save` and `bulk_create`. What writes by SQL seals for itself, and PostgreSQL
refuses a private row in the clear. Conditions of a query see the sealed text: none searches it.
"""

from __future__ import annotations

import json
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models

from datanets.models.data_key import DataKey
from datanets.models.datanet import Datanet
from openledger_site.core.errors import Unavailable
from openledger_site.core.sealing import TEXT_MARK, SealBrokenError, TextSealer, key_id_of

# Before a plain text that looks like a sealed one: nobody can have another's text opened by
# sending what they found in a stolen copy of the database.
_PLAIN_MARK = "olplain:"


class RowsUnreadable(Unavailable):
    code = "rows_unreadable"
    message = (
        "The rows of this Datanet cannot be opened: the key that the operator gave is another. "
        "Nothing is lost; ask whoever runs this site to put the old key back into DATA_KEYS."
    )


def sealer_for(datanet: Datanet) -> TextSealer | None:
    """What seals the rows of a private Datanet; None for the others.

    Kept with this object and no longer: a key whose transaction was rolled back must seal nothing.
    """
    if datanet.visibility != Datanet.Visibility.PRIVATE:
        return None
    kept: dict[str, Any] = vars(datanet)
    if "_row_sealer" not in kept:
        kept["_row_sealer"] = _sealer(DataKey.of(datanet, DataKey.Use.ROWS))
    sealer: TextSealer = kept["_row_sealer"]
    return sealer


def opened(line: str, column: str) -> str:
    """The plain text of a stored one. Raises `RowsUnreadable`."""
    if line.startswith(_PLAIN_MARK):
        return line.removeprefix(_PLAIN_MARK)
    if not line.startswith(TEXT_MARK):
        return line
    try:
        return _sealer_named(key_id_of(line)).unseal(line, column=column)
    except SealBrokenError as problem:
        raise RowsUnreadable from problem


@lru_cache(maxsize=1_000)
def _sealer_named(key_id: str) -> TextSealer:
    """What a stored line names is there for good, so it may be kept."""
    try:
        key = DataKey.objects.get(public_id=UUID(hex=key_id))
    except (ValueError, DataKey.DoesNotExist) as problem:
        raise RowsUnreadable from problem
    return _sealer(key)


def _sealer(key: DataKey) -> TextSealer:
    try:
        return key.sealer()
    except SealBrokenError as problem:
        raise RowsUnreadable from problem


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
    _JSONField = models.JSONField[Any, Any]
else:
    _TextField = models.TextField
    _JSONField = models.JSONField


def _sealer_of(instance: Any) -> TextSealer | None:
    return sealer_for(reduce(getattr, instance.sealed_through.split("__"), instance))


class SealedTextField(_TextField):
    """Text of a row, as it is or sealed."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        text = super().pre_save(model_instance, add)
        sealer = _sealer_of(model_instance) if text else None
        if sealer is not None:
            return sealer.seal(text, column=self.attname, place=model_instance.sealed_place())
        return _PLAIN_MARK + text if text.startswith((TEXT_MARK, _PLAIN_MARK)) else text

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value if value is None else opened(value, self.attname)


class SealedJSONField(_JSONField):
    """A list or an object with text of a row, as it is or as one sealed string."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        sealer = _sealer_of(model_instance) if value else None
        if sealer is None:
            return value
        return self.sealed(value, sealer, model_instance.sealed_place())

    def sealed(self, value: Any, sealer: TextSealer, place: str) -> str:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        return sealer.seal(text, column=self.attname, place=place)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        read = super().from_db_value(value, expression, connection)
        return json.loads(opened(read, self.attname)) if isinstance(read, str) else read
