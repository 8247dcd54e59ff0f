"""What somebody signs so that somebody else may send it: EIP-712 messages and the calls they allow.

A deposit and a stake (EIP-3009), a delegation and a vote (OpenZeppelin Votes and Governor). Nothing
here asks a node. Amounts are wei, times seconds since 1970, nonces and salts `0x` with 64 digits.
"""

from __future__ import annotations

from eth_abi.abi import encode
from web3 import Web3

from rewards.chain.authorizations import TransferAuthorization, token_domain
from rewards.chain.calls import ContractCall, encode_call
from rewards.chain.signatures import Signature, TypedMessage

# Its name and version in the EIP-712 domain; OpenGovernor is built with them.
GOVERNOR_DOMAIN = {"name": "OpenLedger Governor", "version": "1"}


def deposit_message(
    chain_id: int, token: str, escrow: str, *, payer: str, amount_wei: int, until: int, nonce: str
) -> TypedMessage:
    """Lets anyone move `amount_wei` of the payer into custody, once, before `until`."""
    authorization = TransferAuthorization(payer, escrow, amount_wei, 0, until, nonce)
    return authorization.message(chain_id, token)


def stake_message(
    chain_id: int, token: str, staking: str, *, staker: str, target: str, amount_wei: int,
    until: int, salt: str,
) -> TypedMessage:  # fmt: skip
    """Lets anyone stake `amount_wei` of the staker on this target and no other, once."""
    nonce = Web3.to_hex(stake_nonce(target, salt))
    authorization = TransferAuthorization(staker, staking, amount_wei, 0, until, nonce)
    return authorization.message(chain_id, token, kind="ReceiveWithAuthorization")


def delegation_message(
    chain_id: int, token: str, *, delegatee: str, nonce: int, until: int
) -> TypedMessage:
    """Delegates the signer's votes (ERC-5805). `nonce` is the token's next for the signer."""
    values = {"delegatee": delegatee, "nonce": nonce, "expiry": until}
    fields = "address delegatee,uint256 nonce,uint256 expiry"
    return TypedMessage(token_domain(chain_id, token), "Delegation", fields, values)


def ballot_message(
    chain_id: int, governor: str, *, proposal_id: int, support: int, voter: str, nonce: int
) -> TypedMessage:
    """A vote (OpenZeppelin Governor). `nonce` is the governor's next for the voter."""
    domain = GOVERNOR_DOMAIN | {"chainId": chain_id, "verifyingContract": governor}
    values = {"proposalId": proposal_id, "support": support, "voter": voter, "nonce": nonce}
    fields = "uint256 proposalId,uint8 support,address voter,uint256 nonce"
    return TypedMessage(domain, "Ballot", fields, values)


def stake_nonce(target: str, salt: str) -> bytes:
    """The nonce of a signed stake: it names the target (OpenStaking.stakeNonce)."""
    words = [bytes.fromhex(word[2:]) for word in (target, salt)]
    return bytes(Web3.keccak(encode(["bytes32", "bytes32"], words)))


def stake_with_permit_call(
    staking: str, target: str, amount_wei: int, until: int, signature: Signature
) -> ContractCall:
    """Stakes OPEN of the sender with an ERC-2612 signature instead of an approval."""
    return encode_call(
        staking, "stakeWithPermit(bytes32,uint256,uint256,uint8,bytes32,bytes32)",
        bytes.fromhex(target[2:]), amount_wei, until, signature.v, signature.r, signature.s,
    )  # fmt: skip


def signed_stake_call(
    staking: str, message: TypedMessage, target: str, salt: str, signature: Signature
) -> ContractCall:
    """Stakes OPEN of whoever signed `message` (a `stake_message`); by anyone."""
    given = message.values
    return encode_call(
        staking,
        "stakeWithAuthorization("
        "address,bytes32,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
        given["from"], bytes.fromhex(target[2:]), given["value"], given["validAfter"],
        given["validBefore"], bytes.fromhex(salt[2:]), signature.v, signature.r, signature.s,
    )  # fmt: skip


def signed_delegation_call(token: str, message: TypedMessage, signature: Signature) -> ContractCall:
    """Delegates for whoever signed `message`; by anyone."""
    given = message.values
    return encode_call(
        token, "delegateBySig(address,uint256,uint256,uint8,bytes32,bytes32)",
        given["delegatee"], given["nonce"], given["expiry"],
        signature.v, signature.r, signature.s,
    )  # fmt: skip


def signed_vote_call(governor: str, message: TypedMessage, signature: Signature) -> ContractCall:
    """Votes for whoever signed `message`; by anyone."""
    given = message.values
    content = bytes.fromhex(signature.hex[2:])
    return encode_call(
        governor, "castVoteBySig(uint256,uint8,address,bytes)",
        given["proposalId"], given["support"], given["voter"], content,
    )  # fmt: skip
