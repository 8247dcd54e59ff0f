"""EIP-3009: OPEN that moves by its owner's signature. Nothing here asks a node.

The owner signs an EIP-712 message; whoever has it can send it to the token, once per random nonce.
Sources: EIP-3009 (`TransferWithAuthorization`), EIP-712, EIP-2 (low s).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data

# The token's name and version in its EIP-712 domain; the contract is built with them.
TOKEN_DOMAIN = {"name": "OPEN", "version": "1"}
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_TYPES = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


class SignatureInvalid(ValueError):
    """Not a signature that the token would take."""


@dataclass(frozen=True)
class TransferAuthorization:
    """What the payer signs: addresses in checksum form, wei, seconds since 1970, `0x` nonce."""

    payer: str
    to: str
    amount_wei: int
    valid_after: int
    valid_before: int
    nonce: str

    def typed_data(self, chain_id: int, token: str) -> dict[str, Any]:
        """The EIP-712 message for one token on one chain."""
        return {
            "domain_data": TOKEN_DOMAIN | {"chainId": chain_id, "verifyingContract": token},
            "message_types": _TYPES,
            "message_data": {
                "from": self.payer,
                "to": self.to,
                "value": self.amount_wei,
                "validAfter": self.valid_after,
                "validBefore": self.valid_before,
                "nonce": bytes.fromhex(self.nonce[2:]),
            },
        }


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


def recover_payer(
    authorization: TransferAuthorization, signature: Signature, *, chain_id: int, token: str
) -> str:
    """The address whose key signed; raises `SignatureInvalid` when there is none."""
    message = encode_typed_data(**authorization.typed_data(chain_id, token))
    try:
        return str(Account.recover_message(message, signature=signature.hex))
    except Exception as problem:  # the library raises several kinds for one fact
        raise SignatureInvalid("The signature cannot be read.") from problem
