"""What can be sent for somebody: the message that they sign, and the call that it allows.

Each action is prepared to `params` (JSON, kept in the quote), from which message and call are made
again when the signature comes. So what is signed is what was quoted, to the last number.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.address import is_address, to_checksum_address

from openledger_site.accounts.models import User
from openledger_site.core.errors import DomainError
from openledger_site.core.money import WEI_MAX, parse_open
from rewards.chain.authorizations import TransferAuthorization
from rewards.chain.by_signature import (
    ballot_message,
    delegation_message,
    deposit_message,
    signed_delegation_call,
    signed_stake_call,
    signed_vote_call,
    stake_message,
)
from rewards.chain.calls import (
    ContractCall,
    authorized_transfer_call,
    claim_call,
    transfer_call,
)
from rewards.chain.contracts import Addresses
from rewards.chain.governance import Support, cast_vote_call, delegate_call
from rewards.chain.signatures import Signature, TypedMessage
from rewards.selectors import claims_open_for
from rewards.services.chain import chain_client

# How long a signature is worth something: the time for its transaction to be mined.
SIGNATURE_SECONDS = 3_600
Params = dict[str, Any]
Given = Mapping[str, str]


def _refused(where: str, message: str) -> DomainError:
    return DomainError(message, where=where, code="relay_invalid")


def _amount(given: Given) -> int:
    """`amount` in OPEN as people write it, or `amount_wei`."""
    wei = given.get("amount_wei", "")
    try:
        amount = int(wei) if wei.isascii() and wei.isdecimal() else parse_open(given["amount"])
    except (KeyError, ValueError) as problem:
        raise _refused("amount", "Write an amount of OPEN such as 12 or 0.5.") from problem
    if not 0 < amount <= WEI_MAX:
        raise _refused("amount", "Write an amount above zero.")
    return amount


def _until() -> int:
    return int(time.time()) + SIGNATURE_SECONDS


def _word() -> str:
    return "0x" + secrets.token_hex(32)


# Deposits


def _prepare_deposit(user: User, account: str, at: Addresses, given: Given) -> Params:
    return {"amount_wei": str(_amount(given)), "until": _until(), "nonce": _word()}


def _deposit_message(at: Addresses, account: str, params: Params) -> TypedMessage:
    return deposit_message(
        at.chain_id, at.token, at.escrow, payer=account, amount_wei=int(params["amount_wei"]),
        until=params["until"], nonce=params["nonce"],
    )  # fmt: skip


def _deposit_call(
    at: Addresses, account: str, params: Params, signature: Signature
) -> ContractCall:
    amount_wei, until, nonce = int(params["amount_wei"]), params["until"], params["nonce"]
    authorization = TransferAuthorization(account, at.escrow, amount_wei, 0, until, nonce)
    return authorized_transfer_call(at.token, authorization, signature)


def _deposit_rehearsal(at: Addresses, account: str, params: Params) -> ContractCall:
    return transfer_call(at.token, at.escrow, int(params["amount_wei"]))


# Stakes


def _prepare_stake(user: User, account: str, at: Addresses, given: Given) -> Params:
    target = given.get("target", "")
    if len(target) != 66 or not target.startswith("0x") or not _is_hex(target[2:]):
        raise _refused("target", "Name what to stake on.")
    return {
        "amount_wei": str(_amount(given)), "target": target, "until": _until(), "salt": _word(),
    }  # fmt: skip


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in text)


def _stake_message(at: Addresses, account: str, params: Params) -> TypedMessage:
    return stake_message(
        at.chain_id, at.token, at.staking, staker=account, target=params["target"],
        amount_wei=int(params["amount_wei"]), until=params["until"], salt=params["salt"],
    )  # fmt: skip


def _stake_call(at: Addresses, account: str, params: Params, signature: Signature) -> ContractCall:
    message = _stake_message(at, account, params)
    return signed_stake_call(at.staking, message, params["target"], params["salt"], signature)


def _stake_rehearsal(at: Addresses, account: str, params: Params) -> ContractCall:
    return transfer_call(at.token, at.staking, int(params["amount_wei"]))


# Claims


def _prepare_claim(user: User, account: str, at: Addresses, given: Given) -> Params:
    for claim in claims_open_for(user):
        if claim.account == account and claim.amount_wei > 0:
            return {
                "cumulative_wei": str(claim.cumulative_wei),
                "root": claim.root,
                "proof": list(claim.proof),
            }
    raise _refused("account", "There is nothing to claim for this wallet.")


def _claim_call(at: Addresses, account: str, params: Params, _: Signature | None) -> ContractCall:
    root, proof = (
        bytes.fromhex(params["root"][2:]),
        [bytes.fromhex(one[2:]) for one in params["proof"]],
    )
    return claim_call(at.distributor, account, int(params["cumulative_wei"]), root, proof)


def _claim_rehearsal(at: Addresses, account: str, params: Params) -> ContractCall:
    return _claim_call(at, account, params, None)


# Votes


def _prepare_delegation(user: User, account: str, at: Addresses, given: Given) -> Params:
    delegatee = given.get("delegatee", "").strip() or account
    if not is_address(delegatee):
        raise _refused("delegatee", "Write an address such as 0x… with 40 digits, or nothing.")
    nonce = chain_client().nonces(at.token, account)
    return {"delegatee": to_checksum_address(delegatee), "nonce": nonce, "until": _until()}


def _delegation_message(at: Addresses, account: str, params: Params) -> TypedMessage:
    return delegation_message(
        at.chain_id, at.token, delegatee=params["delegatee"], nonce=params["nonce"],
        until=params["until"],
    )  # fmt: skip


def _delegation_call(
    at: Addresses, account: str, params: Params, signature: Signature
) -> ContractCall:
    return signed_delegation_call(at.token, _delegation_message(at, account, params), signature)


def _delegation_rehearsal(at: Addresses, account: str, params: Params) -> ContractCall:
    return delegate_call(at.token, params["delegatee"])


def _prepare_vote(user: User, account: str, at: Addresses, given: Given) -> Params:
    proposal, support = given.get("proposal", ""), given.get("support", "")
    if not (proposal.isascii() and proposal.isdecimal() and int(proposal[:80]) <= WEI_MAX):
        raise _refused("proposal", "Name a proposal.")
    if support not in {str(int(choice)) for choice in Support}:
        raise _refused("support", "Choose for, against or abstain.")
    nonce = chain_client().nonces(at.governor, account)
    return {"proposal": proposal, "support": int(support), "nonce": nonce}


def _ballot(at: Addresses, account: str, params: Params) -> TypedMessage:
    return ballot_message(
        at.chain_id, at.governor, proposal_id=int(params["proposal"]),
        support=params["support"], voter=account, nonce=params["nonce"],
    )  # fmt: skip


def _vote_call(at: Addresses, account: str, params: Params, signature: Signature) -> ContractCall:
    return signed_vote_call(at.governor, _ballot(at, account, params), signature)


def _vote_rehearsal(at: Addresses, account: str, params: Params) -> ContractCall:
    return cast_vote_call(at.governor, int(params["proposal"]), Support(params["support"]))


@dataclass(frozen=True)
class RelayAction:
    """`rehearsal` is what the wallet would send itself: simulated before there is a signature, to
    refuse what cannot work and to know the gas. `extra_gas` is what the signed way takes more."""

    prepare: Callable[[User, str, Addresses, Given], Params]
    message: Callable[[Addresses, str, Params], TypedMessage] | None
    call: Callable[[Addresses, str, Params, Any], ContractCall]
    rehearsal: Callable[[Addresses, str, Params], ContractCall]
    extra_gas: int
    contract: str


ACTIONS: dict[str, RelayAction] = {
    "deposit": RelayAction(
        _prepare_deposit, _deposit_message, _deposit_call, _deposit_rehearsal, 60_000, "escrow"
    ),
    "stake": RelayAction(
        _prepare_stake, _stake_message, _stake_call, _stake_rehearsal, 220_000, "staking"
    ),
    "claim": RelayAction(
        _prepare_claim, None, _claim_call, _claim_rehearsal, 0, "distributor"
    ),
    "delegate": RelayAction(
        _prepare_delegation, _delegation_message, _delegation_call, _delegation_rehearsal,
        50_000, "token",
    ),
    "vote": RelayAction(_prepare_vote, _ballot, _vote_call, _vote_rehearsal, 50_000, "governor"),
}  # fmt: skip
