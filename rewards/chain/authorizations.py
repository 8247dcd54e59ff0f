"""EIP-3009: OPEN that moves by its owner's signature. Nothing here asks a node.

The owner signs an EIP-712 message; whoever has it can send it to the token, once per random nonce.
Source: EIP-3009 (`TransferWithAuthorization`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rewards.chain.signatures import Signature, TypedMessage

# The token's name and version in its EIP-712 domain; the contract is built with them.
TOKEN_DOMAIN = {"name": "OPEN", "version": "1"}
_FIELDS = (
    "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
)


def token_domain(chain_id: int, token: str) -> dict[str, Any]:
    return TOKEN_DOMAIN | {"chainId": chain_id, "verifyingContract": token}


@dataclass(frozen=True)
class TransferAuthorization:
    """What the payer signs: addresses in checksum form, wei, seconds since 1970, `0x` nonce."""

    payer: str
    to: str
    amount_wei: int
    valid_after: int
    valid_before: int
    nonce: str

    def message(
        self, chain_id: int, token: str, kind: str = "TransferWithAuthorization"
    ) -> TypedMessage:
        """For one token on one chain. `kind` is that, or `ReceiveWithAuthorization`."""
        values = {
            "from": self.payer,
            "to": self.to,
            "value": self.amount_wei,
            "validAfter": self.valid_after,
            "validBefore": self.valid_before,
            "nonce": self.nonce,
        }
        return TypedMessage(token_domain(chain_id, token), kind, _FIELDS, values)

    def typed_data(self, chain_id: int, token: str) -> dict[str, Any]:
        """The EIP-712 message for one token on one chain, as eth-account takes it."""
        return self.message(chain_id, token).typed_data


def recover_payer(
    authorization: TransferAuthorization, signature: Signature, *, chain_id: int, token: str
) -> str:
    """The address whose key signed; raises `SignatureInvalid` when there is none."""
    return authorization.message(chain_id, token).signer(signature)
