"""One function per contract call we make. Each returns a ``ContractCall`` and needs no node.

call = mint_call(addresses.token, account, amount_wei)
gas_limit = client.estimate_gas(signer.address, call)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from web3 import Web3

from rewards.chain.artifacts import artifact
from rewards.chain.authorizations import TransferAuthorization
from rewards.chain.signatures import Signature


@dataclass(frozen=True)
class ContractCall:
    """What a transaction does: ``data`` sent to ``to``, which is None to create a contract."""

    to: str | None
    data: bytes
    value_wei: int = 0


def encode_call(to: str, signature: str, *arguments: object) -> ContractCall:
    """A call by its Solidity signature, e.g. ``deposit(uint256)``."""
    types = signature[signature.index("(") + 1 : -1]
    selector = bytes(Web3.keccak(text=signature)[:4])
    return ContractCall(to, selector + encode(types.split(",") if types else [], arguments))


def role_id(name: str) -> bytes:
    """The 32-byte id of a role, e.g. ``MINTER_ROLE`` (OpenZeppelin AccessControl)."""
    return bytes(Web3.keccak(text=name))


def create_call(
    contract_name: str, types: Sequence[str], arguments: Sequence[object]
) -> ContractCall:
    """Creates a contract from its checked artifact."""
    return ContractCall(None, artifact(contract_name).bytecode + encode(types, arguments))


def transfer_native_call(to: str, value_wei: int) -> ContractCall:
    """Sends the chain's native coin, which pays for gas."""
    return ContractCall(to, b"", value_wei)


def grant_role_call(contract: str, role_name: str, account: str) -> ContractCall:
    """Gives ``account`` a role; by the default admin."""
    return encode_call(contract, "grantRole(bytes32,address)", role_id(role_name), account)


def renounce_role_call(contract: str, role_name: str, account: str) -> ContractCall:
    """Gives a role up; by its holder, who repeats its own address as confirmation."""
    return encode_call(contract, "renounceRole(bytes32,address)", role_id(role_name), account)


def begin_admin_transfer_call(contract: str, new_admin: str) -> ContractCall:
    """Offers the administration; by the default admin. The other accepts it after the delay."""
    return encode_call(contract, "beginDefaultAdminTransfer(address)", new_admin)


def accept_admin_transfer_call(contract: str) -> ContractCall:
    """Takes the administration; by whom it was offered to."""
    return encode_call(contract, "acceptDefaultAdminTransfer()")


def mint_call(token: str, account: str, amount_wei: int) -> ContractCall:
    """Creates OPEN; by a minter."""
    return encode_call(token, "mint(address,uint256)", account, amount_wei)


def transfer_call(token: str, to: str, amount_wei: int) -> ContractCall:
    """Moves OPEN of the sender."""
    return encode_call(token, "transfer(address,uint256)", to, amount_wei)


def approve_call(token: str, spender: str, amount_wei: int) -> ContractCall:
    """Lets ``spender`` move OPEN of the sender."""
    return encode_call(token, "approve(address,uint256)", spender, amount_wei)


def deposit_call(escrow: str, amount_wei: int) -> ContractCall:
    """Deposits approved OPEN of the sender."""
    return encode_call(escrow, "deposit(uint256)", amount_wei)


def deposit_with_permit_call(
    escrow: str, amount_wei: int, deadline_timestamp: int, v: int, r: bytes, s: bytes
) -> ContractCall:
    """Deposits OPEN of the sender with an ERC-2612 signature instead of an approval."""
    signature = "depositWithPermit(uint256,uint256,uint8,bytes32,bytes32)"
    return encode_call(escrow, signature, amount_wei, deadline_timestamp, v, r, s)


def withdraw_call(escrow: str, to: str, amount_wei: int, withdrawal_id: bytes) -> ContractCall:
    """Pays OPEN out of custody; by an operator. A 32-byte id works once."""
    return encode_call(escrow, "withdraw(address,uint256,bytes32)", to, amount_wei, withdrawal_id)


def authorized_transfer_call(
    token: str, authorization: TransferAuthorization, signature: Signature
) -> ContractCall:
    """Moves OPEN of whoever signed the authorization (EIP-3009); by anyone. A nonce works once."""
    return encode_call(
        token,
        "transferWithAuthorization("
        "address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
        authorization.payer,
        authorization.to,
        authorization.amount_wei,
        authorization.valid_after,
        authorization.valid_before,
        bytes.fromhex(authorization.nonce[2:]),
        signature.v,
        signature.r,
        signature.s,
    )


def fund_call(escrow: str, amount_wei: int, funding_id: bytes) -> ContractCall:
    """Moves OPEN from custody to the distributor; by an operator. A 32-byte id works once."""
    return encode_call(escrow, "fund(uint256,bytes32)", amount_wei, funding_id)


def propose_call(
    distributor: str, root: bytes, total_wei: int, leaf_file_hash: bytes, epoch: int
) -> ContractCall:
    """Proposes the cumulative root of an epoch; by a proposer."""
    signature = "propose(bytes32,uint256,bytes32,uint64)"
    return encode_call(distributor, signature, root, total_wei, leaf_file_hash, epoch)


def activate_call(distributor: str, root: bytes) -> ContractCall:
    """Makes the proposed root claimable after its delay; by anyone."""
    return encode_call(distributor, "activate(bytes32)", root)


def veto_call(distributor: str, root: bytes) -> ContractCall:
    """Drops the proposed root; by a guardian or the proposer."""
    return encode_call(distributor, "veto(bytes32)", root)


def claim_call(
    distributor: str,
    account: str,
    cumulative_amount_wei: int,
    root: bytes,
    proof: Sequence[bytes],
) -> ContractCall:
    """Pays ``account`` what is left of its cumulative amount; by anyone."""
    signature = "claim(address,uint256,bytes32,bytes32[])"
    return encode_call(distributor, signature, account, cumulative_amount_wei, root, list(proof))


def anchor_call(registry: str, root: bytes, subject: bytes, count: int) -> ContractCall:
    """Anchors a root over ``count`` records for a 32-byte subject; by an anchor role holder."""
    return encode_call(registry, "anchor(bytes32,bytes32,uint256)", root, subject, count)
