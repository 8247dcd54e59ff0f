"""Clusters of near-duplicate records, so that a copy of a row earns nothing of its own.

Exact Jaccard similarity of word shingles (Broder 1997), with an inverted index so that only pairs
sharing a shingle are compared. Clusters are connected components; the oldest row is canonical.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

_WORD = re.compile(r"\w+", re.UNICODE)
DEFAULT_THRESHOLD = 0.8
DEFAULT_SHINGLE_WORDS = 2


def shingles(text: str, shingle_words: int = DEFAULT_SHINGLE_WORDS) -> frozenset[str]:
    """Word n-grams of the NFKC-folded, case-folded text; short texts give one whole shingle."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(words) <= shingle_words:
        return frozenset({" ".join(words)}) if words else frozenset()
    last = len(words) - shingle_words + 1
    return frozenset(" ".join(words[at : at + shingle_words]) for at in range(last))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Size of the intersection over size of the union; two empty sets are unlike."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def cluster_positions(
    texts: Sequence[str],
    *,
    threshold: float = DEFAULT_THRESHOLD,
    shingle_words: int = DEFAULT_SHINGLE_WORDS,
) -> list[int]:
    """For each text the position of its cluster's canonical row: the first, given oldest first."""
    parents = list(range(len(texts)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    sets = [shingles(text, shingle_words) for text in texts]
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for position, own in enumerate(sets):
        shared = Counter(earlier for shingle in own for earlier in seen[shingle])
        for earlier, count in shared.items():
            if count / (len(own) + len(sets[earlier]) - count) >= threshold:
                first, second = sorted((root(earlier), root(position)))
                parents[second] = first
        for shingle in own:
            seen[shingle].append(position)
    return [root(position) for position in range(len(texts))]
