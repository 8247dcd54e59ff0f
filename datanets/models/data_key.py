"""The keys of a Datanet's kept files and of its rows, themselves encrypted by the operator's."""

from __future__ import annotations

import hashlib
import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from datanets.models.datanet import Datanet
from openledger_site.core.sealing import (
    HashKeyer,
    SealBrokenError,
    TextSealer,
    new_key,
    unwrap_key,
    wrap_key,
)


class DataKey(models.Model):
    """Opens the files that contributors of one Datanet sent, or the texts of its rows.

    Deleting the row destroys what it opens.
    """

    class Use(models.TextChoices):
        FILES = "files"
        ROWS = "rows"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    datanet = models.ForeignKey(Datanet, on_delete=models.CASCADE, related_name="data_keys")
    use = models.CharField(max_length=5, choices=Use, default=Use.FILES)
    wrapped = models.BinaryField(help_text="Under the operator's key; never in the clear.")
    wrapped_by = models.CharField(max_length=16, help_text="Which of the operator's keys.")
    created_at = models.DateTimeField(db_default=Now())
    rotated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["datanet", "use"], name="one_data_key_for_each_use")
        ]

    def __str__(self) -> str:
        return f"data key {self.public_id}"

    @classmethod
    def of(cls, datanet: Datanet, use: str) -> DataKey:
        """The Datanet's key for this use, made when it is first asked for."""
        if found := cls.objects.filter(datanet=datanet, use=use).first():
            return found
        made = cls(datanet=datanet, use=use)
        made.wrap(new_key())
        fields = {name: getattr(made, name) for name in ("public_id", "wrapped", "wrapped_by")}
        return cls.objects.get_or_create(datanet=datanet, use=use, defaults=fields)[0]

    def wrap(self, plain: bytes) -> None:
        """Put the key itself under the current one of the operator's; does not save."""
        self.wrapped_by, secret = next(iter(wrapping_keys().items()))
        self.wrapped = wrap_key(plain, secret, self.public_id.bytes)

    def unwrapped(self) -> bytes:
        """The key itself. Raises `SealBrokenError`, also where the operator's key is not given."""
        wrapping = wrapping_keys().get(self.wrapped_by)
        if wrapping is None:
            raise SealBrokenError("DATA_KEYS does not hold the secret that wraps this key")
        return unwrap_key(bytes(self.wrapped), wrapping, self.public_id.bytes)

    def sealer(self) -> TextSealer:
        return TextSealer(self.unwrapped(), self.public_id.hex)

    def keyer(self) -> HashKeyer:
        return HashKeyer(self.unwrapped())


def wrapping_keys() -> dict[str, bytes]:
    """The operator's keys by the id that names them, the current one first."""
    keys = [
        hashlib.sha256(b"openledger wrapping key v1\0" + secret.encode()).digest()
        for secret in settings.DATA_KEYS
    ]
    return {hashlib.sha256(b"id\0" + key).hexdigest()[:16]: key for key in keys}
