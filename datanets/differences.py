"""Word by word, what one text has and the other has not."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

WORDS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Piece:
    """`kind` is `same`, `added` or `removed`."""

    kind: str
    text: str


def word_differences(before: str, after: str) -> list[Piece]:
    """Pieces in reading order; texts are cut at 2,000 words so that a long row stays quick."""
    old, new = before.split()[:WORDS_MAX], after.split()[:WORDS_MAX]
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", " ".join(new[new_from:new_to])))
            continue
        if old_to > old_from:
            pieces.append(Piece("removed", " ".join(old[old_from:old_to])))
        if new_to > new_from:
            pieces.append(Piece("added", " ".join(new[new_from:new_to])))
    return pieces
