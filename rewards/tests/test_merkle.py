"""Merkle trees: parity with OpenZeppelin's library, and what no proof may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from rewards.merkle import (
    MAXIMUM_UINT256,
    MerkleTree,
    PayoutLeaves,
    PayoutTree,
    hash_pair,
    keccak256,
    payout_leaf,
    record_leaf,
    verify,
    verify_record,
)

VECTORS = json.loads((Path(__file__).parent / "merkle_vectors.json").read_text())
CHAIN_ID, DISTRIBUTOR = VECTORS["chainId"], VECTORS["distributor"]

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
amounts = st.integers(min_value=1, max_value=MAXIMUM_UINT256)
earnings = st.dictionaries(addresses, amounts, min_size=1, max_size=40)
hashes = st.binary(min_size=32, max_size=32)
records = st.lists(hashes, min_size=1, max_size=40)


def payouts(cumulative_wei: dict[str, int]) -> PayoutTree:
    return PayoutTree.build(cumulative_wei, chain_id=CHAIN_ID, distributor=DISTRIBUTOR)


def test_keccak_is_the_one_of_ethereum() -> None:
    expected = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == expected


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: str(len(v["entries"])))
def test_root_and_proofs_are_those_of_the_javascript_library(vector: dict[str, Any]) -> None:
    tree = payouts({entry["account"]: int(entry["wei"]) for entry in vector["entries"]})
    assert "0x" + tree.root.hex() == vector["root"]
    for entry in vector["entries"]:
        siblings = tree.proof(entry["account"]).siblings
        assert ["0x" + sibling.hex() for sibling in siblings] == entry["proof"]


@given(earnings)
def test_every_account_proves_its_amount(cumulative_wei: dict[str, int]) -> None:
    tree = payouts(cumulative_wei)
    for account, amount_wei in cumulative_wei.items():
        leaf = payout_leaf(CHAIN_ID, DISTRIBUTOR, account, amount_wei)
        assert verify(leaf, tree.proof(account).siblings, tree.root)
    assert tree.total_wei == sum(cumulative_wei.values())


@given(earnings, st.data())
def test_no_proof_serves_another_amount_account_chain_or_contract(
    cumulative_wei: dict[str, int], data: st.DataObject
) -> None:
    tree = payouts(cumulative_wei)
    account = data.draw(st.sampled_from(sorted(cumulative_wei)))
    proof, amount_wei = tree.proof(account), cumulative_wei[account]
    forged = [
        payout_leaf(CHAIN_ID, DISTRIBUTOR, account, amount_wei - 1),
        payout_leaf(CHAIN_ID + 1, DISTRIBUTOR, account, amount_wei),
        payout_leaf(CHAIN_ID, account, account, amount_wei),
        payout_leaf(CHAIN_ID, DISTRIBUTOR, DISTRIBUTOR, amount_wei),
    ]
    assert not any(verify(leaf, proof.siblings, tree.root) for leaf in forged)


@given(earnings)
def test_the_root_does_not_depend_on_the_order_of_accounts(cumulative_wei: dict[str, int]) -> None:
    backwards = dict(reversed(cumulative_wei.items()))
    assert payouts(backwards).root == payouts(cumulative_wei).root


@given(records)
def test_every_record_proves_its_place(record_hashes: list[bytes]) -> None:
    tree = MerkleTree.from_hashes(record_hashes)
    for index, record_hash in enumerate(record_hashes):
        assert verify_record(record_hash, tree.proof(index), tree.root)


@given(records, hashes)
def test_a_record_that_is_not_in_the_tree_proves_nothing(
    record_hashes: list[bytes], stranger: bytes
) -> None:
    tree = MerkleTree.from_hashes(record_hashes)
    proofs = [tree.proof(index) for index in range(len(record_hashes))]
    is_member = stranger in record_hashes
    assert any(verify_record(stranger, proof, tree.root) for proof in proofs) == is_member


@given(st.lists(hashes, min_size=2, max_size=40, unique=True))
def test_an_inner_node_cannot_be_shown_as_a_record(record_hashes: list[bytes]) -> None:
    tree = MerkleTree.from_hashes(record_hashes)
    siblings = tree.proof(0)
    parent = hash_pair(record_leaf(record_hashes[0]), siblings[0])
    assert verify(parent, siblings[1:], tree.root)  # the node itself is on the path
    assert not verify_record(parent, siblings[1:], tree.root)


@given(records)
def test_proofs_are_as_long_as_the_tree_is_high(record_hashes: list[bytes]) -> None:
    tree = MerkleTree.from_hashes(record_hashes)
    height = (len(record_hashes) - 1).bit_length()
    lengths = {len(tree.proof(index)) for index in range(len(record_hashes))}
    assert lengths <= {height, max(height - 1, 0)}


def test_a_record_leaf_is_never_a_payout_leaf() -> None:
    account = "0x" + "11" * 20
    assert record_leaf(b"\x11" * 32) != payout_leaf(CHAIN_ID, DISTRIBUTOR, account, 1)
    assert MerkleTree.from_hashes([b"\x11" * 32]).root != b"\x11" * 32


@pytest.mark.parametrize("amount_wei", [0, -1, MAXIMUM_UINT256 + 1])
def test_an_amount_that_cannot_be_paid_is_refused(amount_wei: int) -> None:
    with pytest.raises(ValueError, match=r"above zero|uint256"):
        payouts({DISTRIBUTOR: amount_wei})


def test_one_account_in_two_spellings_is_refused() -> None:
    account = "0x" + "ab" * 20
    with pytest.raises(ValueError, match="twice"):
        payouts({account: 1, account.replace("a", "A"): 2})


def test_a_tree_without_leaves_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MerkleTree.from_hashes([])


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MerkleTree.from_hashes([b"short"])


@pytest.mark.parametrize("index", [-1, 1])
def test_an_index_outside_the_tree_is_refused(index: int) -> None:
    with pytest.raises(IndexError):
        MerkleTree.from_hashes([b"\x01" * 32]).proof(index)


def test_leaves_hashed_in_a_row_are_those_hashed_alone_and_addresses_are_spelled_right() -> None:
    accounts = sorted(to_checksum_address(keccak256(bytes([n]))[:20]) for n in range(50))
    hashed = PayoutLeaves(CHAIN_ID, DISTRIBUTOR)
    spelled = [hashed.add(account.lower(), n + 1) for n, account in enumerate(accounts)]
    assert spelled == accounts
    assert hashed.leaves == [
        payout_leaf(CHAIN_ID, DISTRIBUTOR, account, n + 1) for n, account in enumerate(accounts)
    ]
    assert hashed.total_wei == sum(range(51))


@pytest.mark.parametrize(
    "account", ["0x" + "12" * 19, "0x" + "1 " * 20, "1x" + "12" * 20, "0x" + "xy" * 20]
)
def test_what_is_no_address_gets_no_leaf(account: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - two kinds of text
        PayoutLeaves(CHAIN_ID, DISTRIBUTOR).add(account, 1)


def test_an_account_is_given_once_and_in_order() -> None:
    hashed = PayoutLeaves(CHAIN_ID, DISTRIBUTOR)
    hashed.add("0x" + "22" * 20, 1)
    for account in ("0x" + "22" * 20, "0x" + "11" * 20):
        with pytest.raises(ValueError, match="does not come after"):
            hashed.add(account, 1)
