"""The same search with datasketch, as its manual writes it; `bench.near_duplicates` runs it."""

from __future__ import annotations

import itertools
import re

from datasketch import MinHash, MinHashLSH  # type: ignore[import-not-found]

THRESHOLD = 0.7
PERMUTATIONS = 48
WORD = re.compile(r"\w+")


def shingles(text: str) -> set[str]:
    words = WORD.findall(text.lower())
    return {*words, *map(" ".join, itertools.pairwise(words))}


def work(texts: list[str]) -> dict[str, list[tuple[int, int]]]:
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(12, 4))
    sets = [shingles(text) for text in texts]
    pairs = []
    for row, members in enumerate(sets):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([member.encode() for member in members])
        best = (THRESHOLD, -1)
        for other in index.query(sketch):
            common = len(members & sets[other])
            share = common / (len(members) + len(sets[other]) - common)
            if share >= THRESHOLD:
                best = max(best, (share, other))
        if best[1] >= 0:
            pairs.append((row, best[1]))
        index.insert(row, sketch, check_duplication=False)
    return {"pairs": pairs}
