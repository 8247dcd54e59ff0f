"""What an epoch pays, recomputed by anybody from its public leaf list. Pure: needs no site.

A list holds all that each address ever earned. So one list gives the root that is on chain, and
two lists give what the epochs between them paid to whom.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from rewards.merkle import PayoutTree


@dataclass(frozen=True)
class LeafList:
    """A list as it was read and what follows from it; `problems` in plain words."""

    epoch: int
    sha256: str
    root: str
    total_wei: int
    cumulative_wei: dict[str, int]
    place: tuple[int, str]
    problems: list[str] = field(default_factory=list)


def read_leaf_list(content: bytes) -> LeafList:
    """Recompute root and total from the leaves. Raises ``ValueError`` for what is no leaf list."""
    try:
        document: dict[str, Any] = json.loads(content)
        place = (int(document["chain_id"]), str(document["distributor"]))
        leaves = [(str(account), int(wei)) for account, wei in document["leaves"]]
        claimed_root, claimed_wei = str(document["root"]), int(document["total_wei"])
        cumulative = dict(leaves)
        if len(cumulative) != len(leaves):
            raise ValueError("an account stands in it twice")
        tree = PayoutTree.build(cumulative, chain_id=place[0], distributor=place[1])
        epoch = int(document["epoch"])
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"not the leaf list of an epoch: {problem}") from problem
    root, problems = "0x" + tree.root.hex(), []
    if root != claimed_root:
        problems.append(f"the leaves give root {root}, the list says {claimed_root}")
    if tree.total_wei != claimed_wei:
        problems.append(f"the leaves sum to {tree.total_wei} wei, the list says {claimed_wei}")
    digest = hashlib.sha256(content).hexdigest()
    return LeafList(epoch, digest, root, tree.total_wei, tree.cumulative_wei, place, problems)


def paid_between(later: LeafList, earlier: LeafList) -> dict[str, int]:
    """Wei that each address got after `earlier`, up to and with `later`; those who got nothing are
    left out.

    Raises ``ValueError`` when the lists are not of one distributor in this order, or when an
    address has less in the later one: a cumulative amount never falls.
    """
    if later.place != earlier.place or later.epoch <= earlier.epoch:
        raise ValueError("the second list is not of an earlier epoch of the same distributor")
    paid = {
        account: wei - earlier.cumulative_wei.get(account, 0)
        for account, wei in later.cumulative_wei.items()
    }
    gone = earlier.cumulative_wei.keys() - later.cumulative_wei.keys()
    fallen = sorted([*gone, *(account for account, wei in paid.items() if wei < 0)])
    if fallen:
        raise ValueError(f"{fallen[0]} has less than before; amounts may never fall")
    return {account: wei for account, wei in paid.items() if wei}
