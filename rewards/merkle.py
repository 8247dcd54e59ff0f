"""Merkle trees: payouts that the distributor contract accepts, and anchors over record hashes.

    tree = PayoutTree.build({account: wei}, chain_id=31337, distributor=addresses.distributor)
    tree.root, tree.total_wei, tree.proof(account)   # claim(account, cumulative, root, siblings)
    anchor = MerkleTree.from_hashes(record_hashes)   # 32 bytes each, in the order given
    verify_record(record_hashes[7], anchor.proof(7), anchor.root)

Shape and order are those of OpenZeppelin's ``merkle-tree`` library (StandardMerkleTree): leaves
sorted by hash, a complete binary tree stored as one array with the root first and the leaves last
in reverse order, inner nodes keccak256 of both children, the lower one first. So its JavaScript
library gives the same roots and proofs. A payout leaf is keccak256(keccak256(abi.encode(chain id,
distributor, account, amount))); a record leaf is keccak256(domain || record hash). Leaves and
inner nodes hash inputs of different length, so that no inner node can be shown as a leaf.

The tree is kept and a proof is read from it when asked for: 100,000 leaves take 0.3 s and a proof
takes microseconds. keccak is taken from pysha3 directly: eth-hash picks a slower one by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sha3
from eth_utils.address import to_canonical_address

HASH_BYTES = 32
WORD_BYTES = 32
ADDRESS_BYTES = 20
MAXIMUM_UINT256 = 2**256 - 1
# Separates record leaves from payout leaves by text, and from inner nodes (64 bytes) by length.
RECORD_DOMAIN = b"OpenLedger record v1\x00"
# 32 in place of what may become a capital letter, and of a hash's digits from 8 upwards; else 0.
_LETTERS = bytes(32 * (sign in b"abcdef") for sign in range(256))
_MARKS = bytes(32 * (sign in b"89abcdef") for sign in range(256))


def keccak256(data: bytes) -> bytes:
    """Ethereum's keccak-256 (not NIST SHA3-256)."""
    return sha3.keccak_256(data).digest()  # type: ignore[no-any-return] # untyped


def hash_pair(one: bytes, other: bytes) -> bytes:
    """Parent of two nodes; commutative, so that a proof needs no directions."""
    return keccak256(one + other if one < other else other + one)


def payout_leaf(chain_id: int, distributor: str, account: str, cumulative_wei: int) -> bytes:
    """Leaf of one account: abi.encode of [uint256, address, address, uint256], hashed twice.

    Raises ``ValueError`` for an amount that is not a uint256.
    """
    if not 0 <= cumulative_wei <= MAXIMUM_UINT256:
        raise ValueError(f"not a uint256: {cumulative_wei}")
    encoded = b"".join(
        (
            chain_id.to_bytes(WORD_BYTES),
            to_canonical_address(distributor).rjust(WORD_BYTES, b"\x00"),
            to_canonical_address(account).rjust(WORD_BYTES, b"\x00"),
            cumulative_wei.to_bytes(WORD_BYTES),
        )
    )
    return keccak256(keccak256(encoded))


class PayoutLeaves:
    """Payout leaves of many accounts, hashed one after the other with what they share done once.

    Equal to `payout_leaf` for each, nine times as fast: addresses are read as bytes and their
    EIP-55 spelling is computed here.
    """

    def __init__(self, chain_id: int, distributor: str) -> None:
        place = to_canonical_address(distributor).rjust(WORD_BYTES, b"\x00")
        self._head = chain_id.to_bytes(WORD_BYTES) + place + bytes(WORD_BYTES - ADDRESS_BYTES)
        self._last = ""
        self.leaves: list[bytes] = []
        self.total_wei = 0

    def __len__(self) -> int:
        return len(self.leaves)

    def add(self, account: str, cumulative_wei: int) -> str:
        """Hash one leaf; return the account's EIP-55 spelling.

        Accounts come in order of that spelling, each once. Raises ``ValueError`` when they do not,
        for an amount that is no positive uint256 and for what is no address.
        """
        spelled = checksummed(account)
        self.add_spelled(spelled, cumulative_wei)
        return spelled

    def add_spelled(self, account: str, cumulative_wei: int) -> None:
        """As `add`, for an account that `checksummed` has spelled: that is half of the work."""
        if not 0 < cumulative_wei <= MAXIMUM_UINT256:
            raise ValueError(f"a leaf needs a uint256 above zero, not {cumulative_wei}")
        if account <= self._last:
            raise ValueError(f"{account} does not come after {self._last}")
        self._last = account
        canonical = bytes.fromhex(account[2:])
        encoded = self._head + canonical + cumulative_wei.to_bytes(WORD_BYTES)
        self.leaves.append(keccak256(keccak256(encoded)))
        self.total_wei += cumulative_wei


def checksummed(account: str) -> str:
    """The EIP-55 spelling of a hexadecimal address; raises ``ValueError`` for anything else.

    As eth_utils does it, twenty times as fast, which a million accounts notice: all 40 digits are
    one number, from which 32 is taken at each letter that the hash marks (`A` is `a` less 32).
    """
    digits = account[2:].lower()
    is_whole = len(digits) == 2 * len(bytes.fromhex(digits)) == 2 * ADDRESS_BYTES
    if account[:2] != "0x" or not is_whole:
        raise ValueError(f"not an address: {account}")
    small = digits.encode()
    marks = sha3.keccak_256(small).hexdigest()[: len(small)].encode()
    letters = int.from_bytes(small.translate(_LETTERS))
    big = int.from_bytes(small) - (letters & int.from_bytes(marks.translate(_MARKS)))
    return "0x" + big.to_bytes(len(small)).decode()


def record_leaf(record_hash: bytes) -> bytes:
    """Leaf of one record with a 32-byte content hash."""
    if len(record_hash) != HASH_BYTES:
        raise ValueError(f"a record hash has {HASH_BYTES} bytes, not {len(record_hash)}")
    return keccak256(RECORD_DOMAIN + record_hash)


def verify(leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof``, siblings from the leaf upwards, leads from ``leaf`` to ``root``."""
    node = leaf
    for sibling in proof:
        node = hash_pair(node, sibling)
    return node == root


def verify_record(record_hash: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a record is under an anchored root."""
    return verify(record_leaf(record_hash), proof, root)


class MerkleTree:
    """A complete binary tree over leaves: node 0 is the root, node i has children 2i+1, 2i+2."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Raises ``ValueError`` without leaves."""
        if not leaves:
            raise ValueError("a Merkle tree needs at least one leaf")
        self.leaf_count = len(leaves)
        ordered = sorted(range(len(leaves)), key=leaves.__getitem__)
        last = 2 * len(leaves) - 2
        nodes = [b""] * (last + 1)
        self._nodes, self._node_of = nodes, [0] * len(leaves)
        for rank, position in enumerate(ordered):
            nodes[last - rank] = leaves[position]
            self._node_of[position] = last - rank
        keccak = sha3.keccak_256  # `hash_pair`, without its calls: a version has a million
        for node in range(len(leaves) - 2, -1, -1):
            one, other = nodes[2 * node + 1], nodes[2 * node + 2]
            nodes[node] = keccak(one + other if one < other else other + one).digest()

    @classmethod
    def from_hashes(cls, record_hashes: Sequence[bytes]) -> MerkleTree:
        """The anchor tree over 32-byte record hashes; proofs are asked for by their index here."""
        return cls([record_leaf(record_hash) for record_hash in record_hashes])

    @property
    def root(self) -> bytes:
        return self._nodes[0]

    def proof(self, index: int) -> list[bytes]:
        """Sibling hashes from the leaf given at ``index`` up to below the root."""
        if not 0 <= index < self.leaf_count:
            raise IndexError(f"no leaf {index} among {self.leaf_count}")
        nodes, node = self._nodes, self._node_of[index]
        siblings: list[bytes] = []
        while node > 0:
            siblings.append(nodes[node + 1 if node & 1 else node - 1])
            node = (node - 1) >> 1
        return siblings


@dataclass(frozen=True)
class PayoutProof:
    """What an account needs to claim from the distributor."""

    account: str
    cumulative_wei: int
    root: bytes
    siblings: list[bytes]


class PayoutTree:
    """The cumulative earnings of all accounts at the end of one epoch."""

    def __init__(
        self, cumulative_wei: dict[str, int], tree: MerkleTree, positions: dict[str, int]
    ) -> None:
        self.cumulative_wei = cumulative_wei
        self.total_wei = sum(cumulative_wei.values())
        self._tree = tree
        self._positions = positions

    @classmethod
    def build(
        cls, cumulative_wei: Mapping[str, int], *, chain_id: int, distributor: str
    ) -> PayoutTree:
        """The tree over ``{account: all it ever earned, in wei}``, whatever the mapping's order.

        Raises ``ValueError`` when it is empty, when two spellings of one address occur, or when an
        amount is zero, negative or no uint256.
        """
        amounts: dict[str, int] = {
            checksummed(account): wei for account, wei in cumulative_wei.items()
        }
        if len(amounts) != len(cumulative_wei):
            raise ValueError("an account occurs twice, in different spelling")
        if any(wei <= 0 for wei in amounts.values()):
            raise ValueError("a leaf needs an amount above zero")
        accounts = sorted(amounts)
        hashed = PayoutLeaves(chain_id, distributor)
        for name in accounts:
            hashed.add_spelled(name, amounts[name])
        positions = {account: position for position, account in enumerate(accounts)}
        return cls(amounts, MerkleTree(hashed.leaves), positions)

    @property
    def root(self) -> bytes:
        return self._tree.root

    def proof(self, account: str) -> PayoutProof:
        """Raises ``KeyError`` for an account without earnings."""
        name = account if account in self._positions else checksummed(account)
        siblings = self._tree.proof(self._positions[name])
        return PayoutProof(name, self.cumulative_wei[name], self.root, siblings)
