"""Messages that Python writes are the ones that the contracts check."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from eth_account import Account as KeyAccount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewards.chain.authorizations import TransferAuthorization
from rewards.chain.by_signature import (
    delegation_message,
    deposit_message,
    signed_delegation_call,
    signed_stake_call,
    stake_message,
    stake_nonce,
    stake_with_permit_call,
)
from rewards.chain.errors import CallReverted
from rewards.chain.signatures import Signature, TypedMessage
from rewards.chain.staking import target_id
from rewards.chain.transactions import Signer
from rewards.tests.conftest import OPEN, Wallets

pytestmark = pytest.mark.django_db(transaction=True)
TARGET, OTHER = target_id("datanet:1"), target_id("datanet:2")
WORDS = st.binary(min_size=32, max_size=32).map(lambda word: "0x" + word.hex())
UNTIL = 2**40


def sign(key: Any, message: TypedMessage) -> Signature:
    shown = message.for_wallet()
    signed = KeyAccount.sign_typed_data(key, shown["domain"], shown["types"], _numbers(message))
    return Signature.parse("0x" + signed.signature.hex().removeprefix("0x"))


def _numbers(message: TypedMessage) -> dict[str, Any]:
    """The values as eth-account takes them; a wallet takes the text of `for_wallet`."""
    return {
        name: bytes.fromhex(value[2:]) if isinstance(value, str) and len(value) == 66 else value
        for name, value in message.values.items()
    }


@given(target=WORDS, salt=WORDS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_nonce_of_a_signed_stake_is_the_contracts_own(
    wallets: Wallets, target: str, salt: str
) -> None:
    words = [bytes.fromhex(word[2:]) for word in (target, salt)]
    staking, signature = wallets.addresses.staking, "stakeNonce(bytes32,bytes32)"
    on_chain = wallets.client.read(staking, signature, words, ["bytes32"], "latest")[0]
    assert on_chain == stake_nonce(target, salt)


def staker(wallets: Wallets) -> tuple[Any, str]:
    key = KeyAccount.create()
    signer = Signer(key.key, wallets.addresses.chain_id)
    from rewards.services.dev_chain import give_test_open

    give_test_open(signer.address, 10 * OPEN)
    return key.key, signer.address


def stake_of(wallets: Wallets, account: str, target: str) -> int:
    arguments: list[object] = [bytes.fromhex(target[2:]), account]
    staking, signature = wallets.addresses.staking, "bondedOf(bytes32,address)"
    return int(wallets.client.read(staking, signature, arguments, ["uint256"], "latest")[0])


def test_a_relayer_stakes_for_a_signer_and_on_no_other_target(wallets: Wallets) -> None:
    at, (key, address), relayer = wallets.addresses, staker(wallets), wallets.new()
    salt = "0x" + secrets.token_hex(32)
    message = stake_message(
        at.chain_id, at.token, at.staking,
        staker=address, target=TARGET, amount_wei=3 * OPEN, until=UNTIL, salt=salt,
    )  # fmt: skip
    signature = sign(key, message)
    assert message.signer(signature) == address
    turned = signed_stake_call(at.staking, message, OTHER, salt, signature)
    with pytest.raises(CallReverted, match="ERC3009InvalidSignature"):
        wallets.client.estimate_gas(relayer.address, turned)
    wallets.send(relayer, signed_stake_call(at.staking, message, TARGET, salt, signature))
    assert stake_of(wallets, address, TARGET) == 3 * OPEN
    assert stake_of(wallets, relayer.address, TARGET) == 0


def test_one_permit_and_one_transaction_stake(wallets: Wallets) -> None:
    at, (key, address) = wallets.addresses, staker(wallets)
    fields = "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline"
    values = {
        "owner": address, "spender": at.staking, "value": 2 * OPEN,
        "nonce": wallets.client.nonces(at.token, address), "deadline": UNTIL,
    }  # fmt: skip
    domain = {"name": "OPEN", "version": "1", "chainId": at.chain_id, "verifyingContract": at.token}
    signature = sign(key, TypedMessage(domain, "Permit", fields, values))
    call = stake_with_permit_call(at.staking, TARGET, 2 * OPEN, UNTIL, signature)
    wallets.send(Signer(key, at.chain_id), call)
    assert stake_of(wallets, address, TARGET) == 2 * OPEN


def test_a_signed_delegation_is_the_signers(wallets: Wallets) -> None:
    at, (key, address), relayer = wallets.addresses, staker(wallets), wallets.new()
    nonce = wallets.client.nonces(at.token, address)
    message = delegation_message(at.chain_id, at.token, delegatee=address, nonce=nonce, until=UNTIL)
    wallets.send(relayer, signed_delegation_call(at.token, message, sign(key, message)))
    votes = wallets.client.read(at.token, "getVotes(address)", [address], ["uint256"], "latest")[0]
    assert votes == wallets.client.balance_of(at.token, address)


def test_a_deposit_message_is_the_authorization_that_x402_takes(wallets: Wallets) -> None:
    at, (key, address) = wallets.addresses, staker(wallets)
    nonce = "0x" + secrets.token_hex(32)
    message = deposit_message(
        at.chain_id, at.token, at.escrow, payer=address, amount_wei=OPEN, until=UNTIL, nonce=nonce
    )
    same = TransferAuthorization(address, at.escrow, OPEN, 0, UNTIL, nonce)
    signed = KeyAccount.sign_typed_data(key, **same.typed_data(at.chain_id, at.token))
    assert "0x" + signed.signature.hex().removeprefix("0x") == sign(key, message).hex
