"""Proofs that a row is in a version: pure, so that anybody can check one without this site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datanets.content import Content, Leaf, content_hash, leaf_hash
from rewards.merkle import verify_record

SCHEMA = "openledger/inclusion-proof/1"


def check_inclusion(proof: Mapping[str, Any]) -> list[str]:
    """Recompute everything from the text up to the root; what does not hold, in plain words.

    An empty list means: this text, by this contributor, under this licence and on this side of the
    split, is under this root. That the root is on chain is for the reader to look up.
    """
    try:
        return _check(proof)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        return [f"the file is not a complete inclusion proof ({type(problem).__name__}: {problem})"]


def _check(proof: Mapping[str, Any]) -> list[str]:
    if proof["schema"] != SCHEMA:
        return [f"the schema is {proof['schema']!r}, not {SCHEMA!r}"]
    problems = []
    leaf = Leaf(**proof["leaf"])
    messages = tuple(proof["content"].get("messages", ()))
    content = Content(**{**proof["content"], "messages": messages})
    if content_hash(content) != leaf.content_hash:
        problems.append("the content does not have the hash in the leaf")
    made = leaf_hash(leaf, bytes.fromhex(proof["salt"]))
    if made.hex() != proof["leaf_hash"]:
        problems.append("the leaf and its salt do not make the leaf hash")
    siblings = [bytes.fromhex(sibling) for sibling in proof["siblings"]]
    if not verify_record(made, siblings, bytes.fromhex(proof["merkle_root"])):
        problems.append("the leaf is not under the root")
    return problems
