"""What a row *is*: its canonical form, its hash, and the fingerprints that find it again.

Pure functions over plain values. `content_hash` names a row on receipts; `leaf_hash` commits to the
row, its owner, its licence and its side of the split, salted so that a published leaf tells nothing
about a short text; fingerprints ignore case and spacing and are kept private.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_FINAL = " .!?…:;"
# What makes more of a text than words between single spaces; a line break separates two texts.
_ODD_SPACES = ("  ", "\n ", " \n", *"\t\r\x0b\x0c\x1c\x1d\x1e\x1f")
_TEXTS_AT_ONCE = 64
LEAF_DOMAIN = b"openledger/datanets/leaf/v1\x00"


@dataclass(frozen=True, slots=True)
class Content:
    """One row in the normal form of `datanets.parsing`; `kind` says which fields are filled."""

    kind: str
    instruction: str = ""
    response: str = ""
    rejected: str = ""
    text: str = ""
    messages: tuple[Mapping[str, str], ...] = ()


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: the same bytes for the same value everywhere."""
    return _CANONICAL.encode(value).encode()


def content_hash(content: Content) -> str:
    """SHA-256 of the canonical JSON of all six fields, as 64 hex digits."""
    fields = {
        "kind": content.kind,
        "instruction": content.instruction,
        "response": content.response,
        "rejected": content.rejected,
        "text": content.text,
        "messages": [dict(message) for message in content.messages],
    }
    return hashlib.sha256(canonical_json(fields)).hexdigest()


def plain_words(text: str) -> str:
    """NFKC, lower case, single spaces, no final punctuation: what makes two questions the same."""
    # ASCII is its own normal form, and most text is ASCII.
    normal = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(normal.split()).rstrip(_FINAL)


def plain_words_of_plain_text(text: str) -> str:
    """The same for ASCII without white space but single spaces between words."""
    return text.lower().rstrip(_FINAL)


def plain_words_of_many(texts: Sequence[str]) -> list[str]:
    """`plain_words` of each, in a quarter of the time where they are ASCII with single spaces.

    Some are lowered as one text with a line each; a strange one among them costs only those.
    """
    made: list[str] = []
    for at in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[at : at + _TEXTS_AT_ONCE]
        whole = "\n".join(some)
        is_odd = whole.count("\n") >= len(some) or any(odd in f"\n{whole}\n" for odd in _ODD_SPACES)
        if is_odd or not whole.isascii():
            made += map(plain_words, some)
        else:
            made += [line.rstrip(_FINAL) for line in whole.lower().split("\n")]
    return made


def prompt_of(content: Content) -> str:
    """What the row answers: the question, the first thing a user says, or the text itself."""
    if content.kind == "chat":
        return next((m["content"] for m in content.messages if m["role"] == "user"), "")
    return content.text if content.kind == "text" else content.instruction


def answer_of(content: Content) -> str:
    """What the row teaches: the response, or the assistant's first turn; empty for plain text."""
    if content.kind == "chat":
        return next((m["content"] for m in content.messages if m["role"] == "assistant"), "")
    return content.response


def whole_text(content: Content) -> str:
    """All that a person reads in the row, as one text: what near-duplicates are compared by."""
    turns = [message["content"] for message in content.messages]
    parts = [content.instruction, content.response, content.rejected, content.text, *turns]
    return " ".join(part for part in parts if part)


def fingerprint(*parts: str, plain: Callable[[str], str] = plain_words) -> str:
    """SHA-256 over the plain words of each part; equal for rows that differ in case or spacing."""
    return hashlib.sha256("\x00".join(map(plain, parts)).encode()).hexdigest()


def short_key(fingerprint_hex: str) -> int:
    """The first 64 bits of a fingerprint as a signed number, as the database indexes it."""
    return int.from_bytes(bytes.fromhex(fingerprint_hex[:16]), "big", signed=True)


def row_fingerprint(content: Content, plain: Callable[[str], str] = plain_words) -> str:
    turns = [f"{message['role']} {message['content']}" for message in content.messages]
    return fingerprint(
        content.kind,
        content.instruction,
        content.response,
        content.rejected,
        content.text,
        *turns,
        plain=plain,
    )


def prompt_fingerprint(content: Content, plain: Callable[[str], str] = plain_words) -> str:
    return fingerprint(prompt_of(content), plain=plain)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one leaf of a version's tree commits to."""

    record: str
    content_hash: str
    contributor: str
    licence: str
    split: str


def leaf_hash(leaf: Leaf, salt: bytes) -> bytes:
    """32 bytes: SHA-256(domain ‖ salt ‖ canonical JSON). Raises ValueError for a wrong salt."""
    if len(salt) != 32:
        raise ValueError("A leaf needs a salt of 32 bytes.")
    fields = {name: getattr(leaf, name) for name in Leaf.__slots__}
    return hashlib.sha256(LEAF_DOMAIN + salt + canonical_json(fields)).digest()


class LeafHasher:
    """`leaf_hash` for rows of one contributor under one licence: what they share is encoded once.

    `record`, `content_hash` and `split` are ids, digits and a word: nothing in them is escaped.
    """

    def __init__(self, contributor: str, licence: str) -> None:
        shared = canonical_json({"contributor": contributor, "licence": licence}).decode()
        self._shared = shared[1:-1]

    def hash(self, record: str, content_hash: str, split: str, salt: bytes) -> bytes:
        """32 bytes. Raises ValueError for a wrong salt."""
        if len(salt) != 32:
            raise ValueError("A leaf needs a salt of 32 bytes.")
        fields = (
            f'{{"content_hash":"{content_hash}",{self._shared},'
            f'"record":"{record}","split":"{split}"}}'
        )
        return hashlib.sha256(LEAF_DOMAIN + salt + fields.encode()).digest()


def assign_split(groups: Sequence[str], *, seed: str, held_out_percent: int) -> list[str]:
    """`train` or `held_out` for each prompt group, the same for the same group, whatever the order.

    A group falls out when SHA-256(seed ‖ group), read as a number, is among the lowest
    `held_out_percent` hundredths: rows that share a prompt are never on both sides.
    """
    if not held_out_percent:
        return ["train"] * len(groups)
    cut = held_out_percent * 2**256 // 100
    return ["held_out" if _position(seed, group) < cut else "train" for group in groups]


def _position(seed: str, group: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\x00{group}".encode()).digest(), "big")
