"""The deployed contracts as the site uses them, and the file that remembers where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from eth_account.messages import encode_typed_data
from web3 import Web3

from rewards.chain.calls import (
    activate_call,
    anchor_call,
    claim_call,
    deposit_with_permit_call,
    mint_call,
    propose_call,
    transfer_call,
    veto_call,
)
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, addresses_are_live, send_and_wait
from rewards.chain.errors import CallReverted
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, development_account
from rewards.merkle import MerkleTree, PayoutTree, payout_leaf
from rewards.tests.chain.conftest import OPEN, Cast

LEAF_FILE_HASH = b"\x05" * 32
SUBJECT = b"\x09" * 32


def payout_tree(addresses: Addresses, amounts: dict[str, int]) -> PayoutTree:
    return PayoutTree.build(amounts, chain_id=addresses.chain_id, distributor=addresses.distributor)


def activate(
    client: ChainClient, addresses: Addresses, cast: Cast, tree: PayoutTree, epoch: int
) -> None:
    """Funds the distributor, proposes the tree, lets the delay pass and activates it."""
    funded_wei = client.distributor_state(addresses.distributor).funded_wei
    missing_wei = tree.total_wei - funded_wei
    fund = transfer_call(addresses.token, addresses.distributor, missing_wei)
    send_and_wait(client, cast.depositor, fund)
    propose = propose_call(addresses.distributor, tree.root, tree.total_wei, LEAF_FILE_HASH, epoch)
    send_and_wait(client, cast.operator, propose)
    client.request("evm_increaseTime", 60)
    send_and_wait(client, cast.guardian, activate_call(addresses.distributor, tree.root))


def claim(
    client: ChainClient, addresses: Addresses, cast: Cast, tree: PayoutTree, account: str
) -> int:
    """Claims for ``account``; answers the block number."""
    proof = tree.proof(account)
    call = claim_call(
        addresses.distributor, account, proof.cumulative_wei, proof.root, proof.siblings
    )
    return send_and_wait(client, cast.guardian, call).block_number


def test_addresses_survive_a_round_trip_through_their_file(
    deployed: Addresses, tmp_path: Path
) -> None:
    path = tmp_path / "chain" / "addresses.json"
    deployed.save(path)
    assert Addresses.load(path) == deployed
    assert [entry.name for entry in path.parent.iterdir()] == ["addresses.json"]


def test_a_file_with_other_fields_is_not_an_address_file() -> None:
    with pytest.raises(ValueError, match="not an address file"):
        Addresses.from_json('{"token": "0x0"}')


def test_deployed_contracts_are_live(client: ChainClient, deployed: Addresses) -> None:
    assert addresses_are_live(client, deployed)


def test_contracts_of_a_chain_that_was_thrown_away_are_not_live(
    client: ChainClient, deployed: Addresses
) -> None:
    assert not addresses_are_live(client, replace(deployed, deployed_block_hash="0x00"))
    assert not addresses_are_live(client, replace(deployed, chain_id=1))
    nowhere = "0x00000000000000000000000000000000000000A1"
    assert not addresses_are_live(client, replace(deployed, escrow=nowhere))


def test_the_deployer_keeps_no_minter_role(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    with pytest.raises(CallReverted, match="AccessControlUnauthorizedAccount"):
        send_and_wait(client, cast.admin, mint_call(addresses.token, cast.admin.address, 1))


def test_the_contract_and_python_agree_on_leaves(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    account, amount_wei = cast.contributor.address, 12345678901234567890
    arguments = bytes.fromhex(account[2:]).rjust(32, b"\0") + amount_wei.to_bytes(32)
    data = Web3.keccak(text="leafOf(address,uint256)")[:4] + arguments
    fields = {"to": addresses.distributor, "data": Web3.to_hex(data)}
    leaf = payout_leaf(addresses.chain_id, addresses.distributor, account, amount_wei)
    assert client.request("eth_call", fields, "latest") == Web3.to_hex(leaf)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_account_of_a_tree_can_claim_and_the_distributor_is_empty_after(
    client: ChainClient, addresses: Addresses, cast: Cast, count: int
) -> None:
    amounts: dict[str, int] = {
        development_account(10 + i).address: (i + 1) * OPEN + i for i in range(count)
    }
    tree = payout_tree(addresses, amounts)
    activate(client, addresses, cast, tree, epoch=1)
    for account, amount_wei in amounts.items():
        claim(client, addresses, cast, tree, account)
        assert client.balance_of(addresses.token, account) == amount_wei
    assert client.balance_of(addresses.token, addresses.distributor) == 0


def test_a_claim_is_paid_once_and_the_next_epoch_pays_the_difference(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    account = cast.contributor.address
    first = payout_tree(addresses, {account: 5 * OPEN})
    activate(client, addresses, cast, first, epoch=1)
    claim(client, addresses, cast, first, account)
    with pytest.raises(CallReverted, match="NothingToClaim"):
        claim(client, addresses, cast, first, account)
    second = payout_tree(addresses, {account: 7 * OPEN})
    activate(client, addresses, cast, second, epoch=2)
    number = claim(client, addresses, cast, second, account)
    (event,) = client.claim_events(addresses.distributor, number, number)
    assert (event.amount_wei, event.cumulative_amount_wei) == (2 * OPEN, 7 * OPEN)
    assert client.claimed(addresses.distributor, account) == 7 * OPEN


def test_a_claim_for_more_than_the_leaf_is_refused(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    account = cast.contributor.address
    tree = payout_tree(addresses, {account: 5 * OPEN, cast.operator.address: OPEN})
    activate(client, addresses, cast, tree, epoch=1)
    siblings = tree.proof(account).siblings
    call = claim_call(addresses.distributor, account, 6 * OPEN, tree.root, siblings)
    with pytest.raises(CallReverted, match="InvalidProof"):
        send_and_wait(client, cast.contributor, call)


def test_a_proposal_can_be_read_vetoed_and_then_not_activated(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    send_and_wait(
        client, cast.depositor, transfer_call(addresses.token, addresses.distributor, OPEN)
    )
    root, distributor = b"\x01" * 32, addresses.distributor
    propose = propose_call(distributor, root, OPEN, LEAF_FILE_HASH, 1)
    send_and_wait(client, cast.operator, propose)
    state = client.distributor_state(distributor)
    assert state.proposed_root == Web3.to_hex(root)
    assert state.challenge_delay_seconds == 60
    send_and_wait(client, cast.guardian, veto_call(distributor, root))
    assert client.distributor_state(distributor).proposed_root is None
    with pytest.raises(CallReverted, match="ProposalUnknown"):
        send_and_wait(client, cast.operator, activate_call(distributor, root))


def test_gas_is_estimated_for_the_next_block_so_that_a_delay_on_an_idle_chain_can_end(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    root, distributor = b"\x01" * 32, addresses.distributor
    send_and_wait(client, cast.depositor, transfer_call(addresses.token, distributor, OPEN))
    send_and_wait(client, cast.operator, propose_call(distributor, root, OPEN, LEAF_FILE_HASH, 1))
    client.request("evm_increaseTime", 60)  # time passes, no block is mined
    send_and_wait(client, cast.guardian, activate_call(distributor, root))
    assert client.is_root_accepted(distributor, root)


def test_an_anchor_is_read_back_with_the_time_of_its_block(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    root = MerkleTree.from_hashes([bytes([i]) * 32 for i in range(5)]).root
    call = anchor_call(addresses.anchors, root, SUBJECT, 5)
    number = send_and_wait(client, cast.operator, call).block_number
    anchor, block = client.anchor_of(addresses.anchors, SUBJECT, root), client.block(number)
    assert anchor is not None
    assert block is not None
    assert (anchor.timestamp, anchor.block_number, anchor.count) == (block.timestamp, number, 5)
    assert client.anchor_of(addresses.anchors, b"\x08" * 32, root) is None


def test_a_deposit_with_a_signature_needs_no_approval(
    client: ChainClient, addresses: Addresses, cast: Cast
) -> None:
    deadline = client.latest_block().timestamp + 3600
    owner = development_account(3)
    permit = {
        "owner": owner.address,
        "spender": addresses.escrow,
        "value": OPEN,
        "nonce": client.nonces(addresses.token, owner.address),
        "deadline": deadline,
    }
    domain = {
        "name": "OPEN",
        "version": "1",
        "chainId": DEVELOPMENT_CHAIN_ID,
        "verifyingContract": addresses.token,
    }
    fields = {"owner": "address", "spender": "address"}
    fields |= {"value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    types = {"Permit": [{"name": name, "type": kind} for name, kind in fields.items()]}
    signed = owner.sign_message(encode_typed_data(domain, types, permit))
    call = deposit_with_permit_call(
        addresses.escrow, OPEN, deadline, signed.v, signed.r.to_bytes(32), signed.s.to_bytes(32)
    )
    send_and_wait(client, cast.depositor, call)
    assert client.balance_of(addresses.token, addresses.escrow) == OPEN
