"""Signing, apart from sending: the caller stores the signed bytes before it broadcasts them.

A sender takes a nonce under a row lock, calls ``Signer.sign`` and commits ``SignedTransaction.raw``
with its hash; only then does it call ``ChainClient.send_raw``. After a crash it broadcasts the same
bytes again, which can never pay twice. A transaction that is stuck is replaced with the same nonce
and fees raised by an eighth (``Signer.replace``): nodes ask for at least a tenth (go-ethereum
``txpool.pricebump``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from rewards.chain.calls import ContractCall
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, refuse_public_key


@dataclass(frozen=True)
class Fees:
    """EIP-1559 fees in wei per gas."""

    max_fee_per_gas_wei: int
    max_priority_fee_per_gas_wei: int

    def raised(self) -> Fees:
        """Both fees plus 12.5 %, rounded up, so that a node accepts the replacement."""
        return Fees(
            max_fee_per_gas_wei=_plus_an_eighth(self.max_fee_per_gas_wei),
            max_priority_fee_per_gas_wei=_plus_an_eighth(self.max_priority_fee_per_gas_wei),
        )

    def at_least(self, other: Fees) -> Fees:
        """The higher of both, fee by fee."""
        return Fees(
            max(self.max_fee_per_gas_wei, other.max_fee_per_gas_wei),
            max(self.max_priority_fee_per_gas_wei, other.max_priority_fee_per_gas_wei),
        )

    def under(self, cap_wei: int) -> Fees | None:
        """These fees with neither above ``cap_wei``; None when no block would take them now.

        ``max_fee_per_gas_wei`` is twice the base fee and the tip (``ChainClient.estimate_fees``).
        """
        tip, most = self.max_priority_fee_per_gas_wei, self.max_fee_per_gas_wei
        if cap_wei < (most - tip) // 2 + tip:
            return None
        return Fees(min(most, cap_wei), min(tip, cap_wei))


@dataclass(frozen=True)
class SignedTransaction:
    """A transaction ready to broadcast; everything needed to replace it later is in it."""

    chain_id: int
    sender: str
    nonce: int
    to: str | None
    data: bytes
    value_wei: int
    gas_limit: int
    fees: Fees
    raw: bytes
    transaction_hash: str


class Signer:
    """One private key for one chain.

    Raises ``UnsafeKey`` for a public development key on any chain id but the development one.
    """

    def __init__(
        self,
        private_key: str | bytes,
        chain_id: int,
        development_chain_id: int = DEVELOPMENT_CHAIN_ID,
    ) -> None:
        self._account: LocalAccount = Account.from_key(private_key)
        self.address: str = self._account.address
        self.chain_id = chain_id
        refuse_public_key(self.address, chain_id, development_chain_id)

    def __repr__(self) -> str:
        return f"Signer({self.address}, chain_id={self.chain_id})"

    def sign(
        self, call: ContractCall, *, nonce: int, gas_limit: int, fees: Fees
    ) -> SignedTransaction:
        """An EIP-1559 (type 2) transaction that makes ``call``."""
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": nonce,
            "value": call.value_wei,
            "data": call.data,
            "gas": gas_limit,
            "maxFeePerGas": fees.max_fee_per_gas_wei,
            "maxPriorityFeePerGas": fees.max_priority_fee_per_gas_wei,
        }
        if call.to is not None:
            fields["to"] = call.to
        signed = self._account.sign_transaction(fields)
        return SignedTransaction(
            chain_id=self.chain_id,
            sender=self.address,
            nonce=nonce,
            to=call.to,
            data=call.data,
            value_wei=call.value_wei,
            gas_limit=gas_limit,
            fees=fees,
            raw=bytes(signed.raw_transaction),
            transaction_hash=Web3.to_hex(signed.hash),
        )

    def replace(
        self, stuck: SignedTransaction, market_fees: Fees | None = None
    ) -> SignedTransaction:
        """The same call and nonce with higher fees; at most one of the two can be mined."""
        fees = stuck.fees.raised()
        if market_fees is not None:
            fees = fees.at_least(market_fees)
        call = ContractCall(to=stuck.to, data=stuck.data, value_wei=stuck.value_wei)
        return self.sign(call, nonce=stuck.nonce, gas_limit=stuck.gas_limit, fees=fees)


def transaction_hash_of(raw: bytes) -> str:
    """Hash of signed bytes, as the chain will know them."""
    return Web3.to_hex(Web3.keccak(raw))


def _plus_an_eighth(amount: int) -> int:
    return amount + max(1, -(-amount // 8))
