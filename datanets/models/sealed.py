"""Fields whose text is encrypted in the database where its Datanet is private (decision 0039), and
whose hashes say nothing there without the key (decision 0050).

A model that has one says which way leads to its Datanet (`sealed_through`, as in a query) and where
a text stands (`sealed_place`). Reading opens what is sealed wherever a query returns the column;
writing seals on `save` and `bulk_create`. What writes by SQL seals for itself, and PostgreSQL
refuses a private row in the clear. Conditions of a query see the sealed text: none searches it.
"""

from __future__ import annotations

import json
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db import models

from datanets.models.data_key import DataKey
from datanets.models.datanet import Datanet
from openledger_site.core.errors import Unavailable
from openledger_site.core.sealing import (
    KEYED_MARK,
    TEXT_MARK,
    HashKeyer,
    SealBrokenError,
    TextSealer,
    key_id_of,
    keyed_form,
)

# Before a plain text that looks like a sealed one: nobody can have another's text opened by
# sending what they found in a stolen copy of the database.
_PLAIN_MARK = "olplain:"


class RowsUnreadable(Unavailable):
    code = "rows_unreadable"
    message = (
        "The rows of this Datanet cannot be opened: the key that the operator gave is another. "
        "Nothing is lost; ask whoever runs this site to put the old key back into DATA_KEYS."
    )


class RowKeys(NamedTuple):
    """Of one Datanet: what seals the texts of its rows, and what keys their hashes."""

    sealer: TextSealer
    keyer: HashKeyer


def row_keys_for(datanet: Datanet) -> RowKeys | None:
    """What rows of a private Datanet are stored by; None for the others.

    Kept with this object and no longer: a key whose transaction was rolled back must seal nothing.
    """
    if datanet.visibility != Datanet.Visibility.PRIVATE:
        return None
    kept: dict[str, Any] = vars(datanet)
    if "_row_keys" not in kept:
        kept["_row_keys"] = _row_keys(DataKey.of(datanet, DataKey.Use.ROWS))
    keys: RowKeys = kept["_row_keys"]
    return keys


def sealer_for(datanet: Datanet) -> TextSealer | None:
    """What seals the rows of a private Datanet; None for the others."""
    keys = row_keys_for(datanet)
    return None if keys is None else keys.sealer


def keyer_for(datanet: Datanet) -> HashKeyer | None:
    """What keys the hashes of a private Datanet's rows; None for the others."""
    keys = row_keys_for(datanet)
    return None if keys is None else keys.keyer


def keyer_of(datanet: Datanet) -> HashKeyer | None:
    """What rows stored here may be keyed by, also where the Datanet is private no more."""
    key = DataKey.objects.filter(datanet=datanet, use=DataKey.Use.ROWS).first()
    return None if key is None else _row_keys(key).keyer


def keyed(digest: str, use: str, keyer: HashKeyer) -> str:
    """A hash as it is stored with a private row; `use` is its column."""
    return keyed_form(keyer.hex(digest, use))


def is_keyed(digest: str) -> bool:
    return digest.startswith(KEYED_MARK)


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
    return _row_keys(key).sealer


def _row_keys(key: DataKey) -> RowKeys:
    try:
        return RowKeys(key.sealer(), key.keyer())
    except SealBrokenError as problem:
        raise RowsUnreadable from problem


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
    _JSONField = models.JSONField[Any, Any]
    _CharField = models.CharField[str, str]
    _BinaryField = models.BinaryField[bytes, bytes]
else:
    _TextField = models.TextField
    _JSONField = models.JSONField
    _CharField = models.CharField
    _BinaryField = models.BinaryField


def _datanet_of(instance: Any) -> Datanet:
    datanet: Datanet = reduce(getattr, instance.sealed_through.split("__"), instance)
    return datanet


def _sealer_of(instance: Any) -> TextSealer | None:
    return sealer_for(_datanet_of(instance))


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


class SealedBinaryField(_BinaryField):
    """A secret of a row in bytes, as it is or as the bytes of a sealed line."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        secret = bytes(super().pre_save(model_instance, add))
        sealer = _sealer_of(model_instance) if secret else None
        if sealer is None:
            return secret
        place = model_instance.sealed_place()
        return sealer.seal(secret.hex(), column=self.attname, place=place).encode()

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> bytes | None:
        return value if value is None else opened_bytes(value, self.attname)


def opened_bytes(stored: Any, column: str) -> bytes:
    """The bytes of a stored secret. Raises `RowsUnreadable`."""
    secret = bytes(stored)
    if not secret.startswith(TEXT_MARK.encode()):
        return secret
    return bytes.fromhex(opened(secret.decode(), column))


class KeyedHashField(_CharField):
    """A hash of a row's text, as it is or keyed; a keyed one stays what it is.

    Reading gives what is stored: nothing turns it back, and whoever needs the plain hash computes
    it from the row.
    """

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        digest = super().pre_save(model_instance, add)
        if not digest or is_keyed(digest):
            return digest
        keyer = keyer_for(_datanet_of(model_instance))
        return digest if keyer is None else keyed(digest, self.attname, keyer)
