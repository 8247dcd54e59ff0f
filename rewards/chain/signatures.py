"""Signatures over typed messages, and whose they are. Nothing here asks a node.

Sources: EIP-712 (typed messages), EIP-2 (low s).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data

_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class SignatureInvalid(ValueError):
    """Not a signature that the token would take."""


@dataclass(frozen=True)
class Signature:
    """An ECDSA signature in the three parts that the token takes."""

    v: int
    r: bytes
    s: bytes

    @classmethod
    def parse(cls, text: str) -> Signature:
        """65 bytes of hex as `r || s || v`, in the one form that the contract accepts."""
        if not _SIGNATURE.fullmatch(text):
            raise SignatureInvalid("The signature is not 65 bytes of hex.")
        content = bytes.fromhex(text[2:])
        if content[64] not in (27, 28):
            raise SignatureInvalid("The signature's last byte is neither 27 nor 28.")
        if int.from_bytes(content[32:64]) > _HALF_ORDER:
            raise SignatureInvalid("The signature is in its malleable high-s form.")
        return cls(content[64], content[:32], content[32:64])

    @property
    def hex(self) -> str:
        return "0x" + (self.r + self.s + bytes([self.v])).hex()


@dataclass(frozen=True)
class TypedMessage:
    """An EIP-712 message. `fields` is its type's text as in the standard: `kind name` by commas."""

    domain: dict[str, Any]
    kind: str
    fields: str
    values: dict[str, Any]

    @property
    def _types(self) -> list[dict[str, str]]:
        pairs = (field.split(" ") for field in self.fields.split(","))
        return [{"name": name, "type": kind} for kind, name in pairs]

    def for_wallet(self) -> dict[str, Any]:
        """As JSON for `eth_signTypedData_v4`: numbers as text, because JavaScript rounds."""
        return {
            "domain": self.domain,
            "types": {self.kind: self._types},
            "message": {name: _as_text(value) for name, value in self.values.items()},
        }

    @property
    def typed_data(self) -> dict[str, Any]:
        """As eth-account takes it."""
        return {
            "domain_data": self.domain,
            "message_types": {self.kind: self._types},
            "message_data": {name: _as_bytes(value) for name, value in self.values.items()},
        }

    def signer(self, signature: Signature) -> str:
        """The address whose key signed; raises `SignatureInvalid` when there is none."""
        message = encode_typed_data(**self.typed_data)
        try:
            return str(Account.recover_message(message, signature=signature.hex))
        except Exception as problem:  # the library raises several kinds for one fact
            raise SignatureInvalid("The signature cannot be read.") from problem


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _as_bytes(value: Any) -> Any:
    is_word = isinstance(value, str) and len(value) == 66
    return bytes.fromhex(value[2:]) if is_word else value
