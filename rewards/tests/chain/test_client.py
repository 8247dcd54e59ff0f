"""Reading the chain: right chain only, typed errors, events in order, reorganisations visible."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import pytest

from rewards.chain.calls import approve_call, deposit_call, fund_call, mint_call, withdraw_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, send_and_wait
from rewards.chain.errors import CallReverted, ChainUnavailable, RpcFailure, WrongChain
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.local import LocalChain, free_port
from rewards.chain.rpc import _typed_failure, decode_revert
from rewards.tests.chain.conftest import OPEN, Cast

NOBODY = "0x00000000000000000000000000000000000000A1"


def deposit(client: ChainClient, addresses: Addresses, cast: Cast, amount_wei: int) -> int:
    """Approves and deposits; answers the block number."""
    approve = approve_call(addresses.token, addresses.escrow, amount_wei)
    send_and_wait(client, cast.depositor, approve)
    call = deposit_call(addresses.escrow, amount_wei)
    return send_and_wait(client, cast.depositor, call).block_number


def test_a_node_of_another_chain_is_refused(chain: LocalChain) -> None:
    with pytest.raises(WrongChain) as caught:
        ChainClient(chain.url, expected_chain_id=1).latest_block()
    assert (caught.value.expected_chain_id, caught.value.actual_chain_id) == (1, 31337)


def test_a_node_that_changes_its_chain_is_refused_within_a_minute(
    chain: LocalChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ChainClient(chain.url, DEVELOPMENT_CHAIN_ID)
    client.latest_block()
    monkeypatch.setattr("rewards.chain.client.CHECK_INTERVAL_SECONDS", 0.0)
    client.request("anvil_setChainId", 1)
    try:
        with pytest.raises(WrongChain):
            client.latest_block()
    finally:
        ChainClient(chain.url, 1).request("anvil_setChainId", DEVELOPMENT_CHAIN_ID)


def test_a_forked_child_talks_over_a_connection_of_its_own(client: ChainClient) -> None:
    client.latest_block()  # opens the parent's connection
    before = client._rpc._provider
    child = os.fork()
    if child == 0:
        with suppress(Exception):
            client.latest_block()
            os._exit(0 if client._rpc._provider is not before else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.latest_block().number >= 0


def test_a_closed_port_is_unavailable() -> None:
    client = ChainClient(f"http://127.0.0.1:{free_port()}", DEVELOPMENT_CHAIN_ID)
    with pytest.raises(ChainUnavailable):
        client.latest_block()


def test_a_node_that_never_answers_is_unavailable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = ChainClient(url, DEVELOPMENT_CHAIN_ID, timeout_seconds=0.2)
        with pytest.raises(ChainUnavailable, match="timed out"):
            client.latest_block()


def test_a_deposit_is_read_back_with_its_block_and_amount(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    number = deposit(client, addresses, cast, 3 * OPEN)
    (event,) = client.deposit_events(addresses.escrow, addresses.deployed_block, number)
    assert (event.account, event.amount_wei) == (cast.depositor.address, 3 * OPEN)
    assert event.deposit_id == 1
    assert event.place.block_hash == client.block_hash(number)


def test_deposits_come_in_order_and_only_from_the_blocks_asked_for(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    first, second, third = (deposit(client, addresses, cast, wei) for wei in (1, 2, 3))
    events = client.deposit_events(addresses.escrow, 0, third)
    assert [event.amount_wei for event in events] == [1, 2, 3]
    assert [e.amount_wei for e in client.deposit_events(addresses.escrow, second, second)] == [2]
    assert client.deposit_events(addresses.escrow, first + 1, second - 1) == []


@pytest.mark.parametrize("log_range_blocks", [1, 2, 3, 7])
def test_a_wide_range_is_asked_for_in_parts_without_losing_any(
    client: ChainClient, addresses: Addresses, cast: Cast, chain: LocalChain, log_range_blocks: int
) -> None:
    for amount_wei in (1, 2, 3):
        number = deposit(client, addresses, cast, amount_wei)
        chain.mine(amount_wei)
    narrow = ChainClient(chain.url, DEVELOPMENT_CHAIN_ID, log_range_blocks=log_range_blocks)
    events = narrow.deposit_events(addresses.escrow, addresses.deployed_block, number)
    assert [event.amount_wei for event in events] == [1, 2, 3]


def test_a_reorganisation_changes_the_hash_of_the_deposit_block(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    number = deposit(client, addresses, cast, 3 * OPEN)
    (event,) = client.deposit_events(addresses.escrow, number, number)
    client.request("anvil_reorg", 1, [])
    assert client.block_hash(number) != event.place.block_hash
    assert client.deposit_events(addresses.escrow, number, number) == []


def test_custody_is_the_token_balance_of_the_escrow(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    number = deposit(client, addresses, cast, 3 * OPEN)
    assert client.balance_of(addresses.token, addresses.escrow) == 3 * OPEN
    assert client.balance_of(addresses.token, addresses.escrow, number - 1) == 0


def test_a_withdrawal_is_read_back_and_its_id_works_once(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    deposit(client, addresses, cast, 3 * OPEN)
    call = withdraw_call(addresses.escrow, NOBODY, OPEN, b"\x07" * 32)
    number = send_and_wait(client, cast.operator, call).block_number
    (event,) = client.withdrawal_events(addresses.escrow, number, number)
    assert (event.to, event.amount_wei, event.withdrawal_id) == (NOBODY, OPEN, "0x" + "07" * 32)
    assert client.is_escrow_id_used(addresses.escrow, b"\x07" * 32)
    with pytest.raises(CallReverted, match="AlreadyProcessed"):
        send_and_wait(client, cast.operator, call)


def test_funding_moves_custody_to_the_distributor(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    deposit(client, addresses, cast, 3 * OPEN)
    send_and_wait(client, cast.operator, fund_call(addresses.escrow, 2 * OPEN, b"\x01" * 32))
    assert client.distributor_state(addresses.distributor).funded_wei == 2 * OPEN
    assert client.balance_of(addresses.token, addresses.escrow) == OPEN


def test_a_refused_call_names_the_contracts_own_error_before_it_is_sent(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    call = mint_call(addresses.token, NOBODY, OPEN)
    with pytest.raises(CallReverted) as caught:
        client.estimate_gas(cast.depositor.address, call)
    assert caught.value.error_name == "AccessControlUnauthorizedAccount"


def test_revert_data_of_unknown_contracts_is_kept_not_guessed() -> None:
    assert decode_revert(bytes.fromhex("deadbeef")).arguments == ("0xdeadbeef",)
    cut = {"message": "execution reverted", "data": "0x08c379a0ff"}
    assert (
        _typed_failure("eth_call", cut).args == CallReverted("UnknownError", ("0x08c379a0ff",)).args
    )


def test_an_address_without_a_contract_is_an_error_not_a_zero_balance(
    client: ChainClient, addresses: Addresses
) -> None:
    with pytest.raises(RpcFailure, match="no contract"):
        client.balance_of(NOBODY, addresses.escrow)


def test_a_block_above_the_head_has_no_hash(client: ChainClient) -> None:
    assert client.block_hash(client.latest_block().number + 1) is None
