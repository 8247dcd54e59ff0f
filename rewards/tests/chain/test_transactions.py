"""Signing and sending: the same bytes can be sent twice, a stuck nonce can be replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from rewards.chain.calls import transfer_native_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, send_and_wait
from rewards.chain.errors import (
    ReceiptTimeout,
    RejectionReason,
    TransactionFailed,
    TransactionRejected,
    UnsafeKey,
)
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, development_account
from rewards.chain.transactions import Fees, SignedTransaction, Signer, transaction_hash_of
from rewards.tests.chain.conftest import Cast

NOBODY = "0x00000000000000000000000000000000000000A2"
amounts = st.integers(min_value=0, max_value=10**30)


def payment(
    client: ChainClient, signer: Signer, *, value_wei: int = 1, nonce: int | None = None
) -> SignedTransaction:
    used = client.transaction_count(signer.address)
    return signer.sign(
        transfer_native_call(NOBODY, value_wei),
        nonce=used if nonce is None else nonce,
        gas_limit=21_000,
        fees=client.estimate_fees(),
    )


@pytest.fixture
def paused_mining(client: ChainClient, addresses: Addresses) -> Iterator[None]:
    client.request("evm_setAutomine", False)
    yield
    client.request("anvil_dropAllTransactions")  # or a later test would mine and pay them
    client.request("evm_setAutomine", True)


@pytest.mark.parametrize("index", [0, 9, 19])
def test_a_public_key_is_refused_on_any_chain_but_the_local_one(index: int) -> None:
    key = development_account(index).key
    assert Signer(key, DEVELOPMENT_CHAIN_ID).address == development_account(index).address
    with pytest.raises(UnsafeKey):
        Signer(key, chain_id=1)


def test_a_private_key_of_ones_own_is_accepted_on_any_chain() -> None:
    assert Signer(Account.create().key, chain_id=1).chain_id == 1


def test_a_signer_does_not_show_its_key() -> None:
    account = Account.create()
    assert account.key.hex() not in repr(Signer(account.key, chain_id=1))


def test_the_hash_is_known_before_the_bytes_are_sent(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    signed = payment(client, cast.depositor)
    assert signed.transaction_hash == transaction_hash_of(signed.raw)
    assert client.receipt(signed.transaction_hash) is None
    assert client.send_raw(signed.raw) == signed.transaction_hash
    assert client.wait_for_receipt(signed.transaction_hash).is_success


def test_sending_the_same_bytes_again_after_mining_changes_nothing(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    signed = payment(client, cast.depositor, value_wei=5)
    client.wait_for_receipt(client.send_raw(signed.raw))
    assert client.send_raw(signed.raw) == signed.transaction_hash
    assert client.native_balance_of(NOBODY) == 5


@pytest.mark.usefixtures("paused_mining")
def test_sending_the_same_bytes_again_while_they_wait_changes_nothing(
    client: ChainClient, cast: Cast
) -> None:
    signed = payment(client, cast.depositor)
    client.send_raw(signed.raw)
    assert client.send_raw(signed.raw) == signed.transaction_hash
    with pytest.raises(ReceiptTimeout):
        client.wait_for_receipt(signed.transaction_hash, timeout_seconds=0.05)


@pytest.mark.usefixtures("paused_mining")
def test_a_replacement_takes_the_place_of_the_stuck_transaction(
    client: ChainClient, cast: Cast
) -> None:
    stuck = payment(client, cast.depositor, value_wei=5)
    client.send_raw(stuck.raw)
    replacement = cast.depositor.replace(stuck)
    client.send_raw(replacement.raw)
    client.request("evm_mine")
    assert client.wait_for_receipt(replacement.transaction_hash).is_success
    assert client.receipt(stuck.transaction_hash) is None
    assert client.native_balance_of(NOBODY) == 5


@pytest.mark.usefixtures("paused_mining")
def test_a_second_transaction_with_the_same_nonce_and_fees_is_underpriced(
    client: ChainClient, cast: Cast
) -> None:
    client.send_raw(payment(client, cast.depositor, value_wei=5).raw)
    with pytest.raises(TransactionRejected) as caught:
        client.send_raw(payment(client, cast.depositor, value_wei=6).raw)
    assert caught.value.reason == RejectionReason.UNDERPRICED


def test_a_used_nonce_is_rejected_as_such(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    client.wait_for_receipt(client.send_raw(payment(client, cast.depositor).raw))
    with pytest.raises(TransactionRejected) as caught:
        client.send_raw(payment(client, cast.depositor, value_wei=2, nonce=0).raw)
    assert caught.value.reason == RejectionReason.NONCE_TOO_LOW


def test_a_sender_without_coin_is_rejected_as_such(
    client: ChainClient, addresses: Addresses
) -> None:
    poor = Signer(Account.create().key, DEVELOPMENT_CHAIN_ID)
    with pytest.raises(TransactionRejected) as caught:
        client.send_raw(payment(client, poor).raw)
    assert caught.value.reason == RejectionReason.INSUFFICIENT_FUNDS


def test_a_mined_but_reverted_transaction_is_a_failure(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    call = transfer_native_call(addresses.token, 1)  # the token takes no native coin
    signed = cast.depositor.sign(
        call,
        nonce=client.transaction_count(cast.depositor.address),
        gas_limit=100_000,
        fees=client.estimate_fees(),
    )
    with pytest.raises(TransactionFailed):
        client.wait_for_receipt(client.send_raw(signed.raw))


def test_fees_cover_a_doubled_base_fee(client: ChainClient, addresses: Addresses) -> None:
    base_fee = int(client.request("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    fees = client.estimate_fees()
    assert fees.max_fee_per_gas_wei >= 2 * base_fee
    assert fees.max_priority_fee_per_gas_wei <= fees.max_fee_per_gas_wei


@given(amounts, amounts)
def test_raised_fees_are_above_by_at_least_an_eighth(maximum: int, priority: int) -> None:
    raised = Fees(maximum, priority).raised()
    for before, after in (
        (maximum, raised.max_fee_per_gas_wei),
        (priority, raised.max_priority_fee_per_gas_wei),
    ):
        assert after > before
        assert 8 * after >= 9 * before


@given(amounts, amounts, amounts, amounts)
def test_a_replacement_is_never_below_the_market(a: int, b: int, c: int, d: int) -> None:
    signer = Signer(development_account(0).key, DEVELOPMENT_CHAIN_ID)
    fees, market = Fees(max(a, b), min(a, b)), Fees(max(c, d), min(c, d))
    call = transfer_native_call(NOBODY, 1)
    stuck = signer.sign(call, nonce=3, gas_limit=21_000, fees=fees)
    replacement = signer.replace(stuck, market)
    assert replacement.nonce == 3
    assert replacement.fees.at_least(market) == replacement.fees
    assert replacement.fees.max_fee_per_gas_wei > fees.max_fee_per_gas_wei


def test_send_and_wait_uses_consecutive_nonces(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    before = client.transaction_count(cast.depositor.address)
    for _ in range(3):
        send_and_wait(client, cast.depositor, transfer_native_call(NOBODY, 1))
    assert client.transaction_count(cast.depositor.address) == before + 3
