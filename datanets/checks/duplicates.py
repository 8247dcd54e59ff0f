"""Duplicates: exact by fingerprint, near by MinHash bands that an exact Jaccard confirms.

A row is its set of words and word pairs (case, spacing and punctuation aside). MinHash (Broder
1997) with 48 permutations in 12 bands of 4 proposes pairs: with probability 0.96 at Jaccard 0.7
and 0.998 at 0.8. A pair is reported only when the Jaccard index of the two sets, computed
exactly, reaches `NEAR_JACCARD`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from datanets.checks.batch import Words, batches
from datanets.checks.findings import Finding

NEAR_JACCARD = 0.7
PERMUTATIONS = 48
BANDS = 12
SEED = 20_261_126
SKETCH_MIN = 12
"""Of two texts with Jaccard 0.7 each permutation agrees with probability 0.7: that no more than 11
of 48 do happens to one pair in 40 billion. Of a thousand unlike pairs hardly one reaches it."""
# Text beyond this adds nothing to the question whether two rows are the same.
CHARACTERS_MAX = 20_000

_WORD = re.compile(r"\w+")
_TEXTS_AT_ONCE = 1_000
_SETS_KEPT = 10_000
# rensa hands larger work to threads of its own, which a confined child may not start.
_ROWS_A_CALL = 200
_WORDS_A_CALL = 20_000
_EMPTY_BAND = np.iinfo(np.int64).max
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


@dataclass(frozen=True, slots=True)
class Near:
    """Row `row` is like the earlier row `like` (both counted from 0) with this Jaccard index."""

    row: int
    like: int
    jaccard: float


def shingles(text: str) -> set[str]:
    """Words and pairs of neighbouring words, in lower case: what the Jaccard index compares."""
    words = _words(text)
    pairs = map(" ".join, itertools.pairwise(words))
    return {*words, *pairs}


def jaccard(one: set[str], other: set[str]) -> float:
    """Share of common members, 0 to 1; two empty sets have nothing in common."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if common else 0.0


def near_keys(texts: Sequence[str]) -> NDArray[np.int64]:
    """Band keys, int64 of shape (rows, BANDS): rows that share one are candidates.

    The same text gives the same keys everywhere and always; band and content are both in the key.
    A text without words has `_EMPTY_BAND` throughout and is nobody's candidate.
    """
    keys = np.empty((len(texts), BANDS), dtype=np.int64)
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        heads = [text[:CHARACTERS_MAX] for text in texts[start : start + _TEXTS_AT_ONCE]]
        for batch in batches(heads, CHARACTERS_MAX):
            keys[start + batch.place], _ = keys_of_words(batch.words())
    return keys


def keys_of_words(words: Words) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """`near_keys` and sketches of a batch, by the words of the first `CHARACTERS_MAX`.

    A sketch is the last byte of each permutation's minimum, shape (rows, PERMUTATIONS).
    """
    hashes = _shingle_hashes(words)
    offsets = 2 * words.first.astype(np.uint64)
    parts = [
        _band_keys(hashes[offsets[start] : offsets[end]], offsets[start : end + 1] - offsets[start])
        for start, end in _small_calls(words.first)
    ]
    keys, sketches = zip(*parts, strict=True)
    return np.concatenate(keys), np.concatenate(sketches)


def _small_calls(first: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows (from, to) for one call each, given where the words of each row begin."""
    start, rows = 0, len(first) - 1
    while start < rows:
        reach = int(np.searchsorted(first, first[start] + _WORDS_A_CALL, side="right")) - 1
        end = min(max(reach, start + 1), start + _ROWS_A_CALL, rows)
        yield start, end
        start = end


def _band_keys(
    hashes: NDArray[np.uint64], offsets: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    rows = len(offsets) - 1
    if not len(hashes):
        empty = np.full((rows, BANDS), _EMPTY_BAND, dtype=np.int64)
        return empty, np.zeros((rows, PERMUTATIONS), dtype=np.uint8)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, PERMUTATIONS, SEED)
    bands = np.array(matrix.to_rows(), dtype=np.uint64).reshape(rows, BANDS, -1)
    keys = np.arange(1, BANDS + 1, dtype=np.uint64) * _MIX[0] ^ np.zeros_like(bands[:, :, 0])
    for place in range(bands.shape[2]):
        keys = (keys ^ bands[:, :, place]) * _MIX[1]
        keys ^= keys >> np.uint64(29)
    signed = keys.view(np.int64)
    signed[offsets[1:] == offsets[:-1]] = _EMPTY_BAND
    return signed, bands.astype(np.uint8).reshape(rows, PERMUTATIONS)


def _shingle_hashes(words: Words) -> NDArray[np.uint64]:
    """Hashes of each word and of its pair with the next, one after the other.

    The last word of a row has no pair of its own: its hash stands there twice, which a minimum
    does not see.
    """
    distinct = np.array(RMinHash.hash_token_sets([words.distinct])[0], dtype=np.uint64)
    single = distinct[words.ids]
    pair = single * _MIX[0]
    pair[:-1] ^= single[1:] * _MIX[1]
    last = words.first[1:][np.diff(words.first) > 0] - 1
    pair[last] = single[last]
    return np.stack([single, pair], axis=1).reshape(-1)


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:CHARACTERS_MAX].lower())


def stored_keys(keys: NDArray[np.int64]) -> list[int]:
    """One row's band keys as the database keeps them; none for a text without words."""
    return [] if keys[0] == _EMPTY_BAND else keys.tolist()


def candidate_pairs(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (row, earlier row) that share a band, shape (pairs, 2), sorted, each once.

    In each band a row is paired with the first of its group and with the one just before it, so a
    thousand copies give two thousand pairs, not a million.
    """
    found = []
    for band in range(keys.shape[1]):
        column = keys[:, band]
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        same = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] != _EMPTY_BAND)) + 1
        if not len(same):
            continue
        starts = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        first = np.maximum.accumulate(np.where(starts, np.arange(len(ordered)), 0))
        found.append(np.stack([order[same], order[first[same]]], axis=1))
        found.append(np.stack([order[same], order[same - 1]], axis=1))
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    return np.unique(np.concatenate(found), axis=0)


def near_duplicates(
    keys: NDArray[np.int64],
    text_of: Callable[[int], str],
    *,
    threshold: float = NEAR_JACCARD,
    sketches: NDArray[np.uint8] | None = None,
) -> Iterator[Near]:
    """For each row the earlier row it is most like, when the exact Jaccard reaches `threshold`.

    Pairs whose `sketches` share less than `SKETCH_MIN` are left out before a text is read.
    """
    best: Near | None = None
    sets: dict[int, set[str]] = {}
    pairs = candidate_pairs(keys)
    if sketches is not None:
        pairs = pairs[_shared(sketches, pairs) >= SKETCH_MIN]
    for row, like in pairs.tolist():
        if best is not None and best.row != row:
            yield best
            best = None
        if len(sets) > _SETS_KEPT:
            sets.clear()
        for place in (row, like):
            if place not in sets:
                sets[place] = shingles(text_of(place))
        same = jaccard(sets[row], sets[like])
        if same >= threshold and (best is None or same > best.jaccard):
            best = Near(row, like, same)
    if best is not None:
        yield best


def _shared(
    sketches: NDArray[np.uint8], pairs: NDArray[np.int64], at_once: int = 100_000
) -> NDArray[np.int64]:
    """How many permutations have the same last byte in both rows of each pair."""
    counts = np.empty(len(pairs), dtype=np.int64)
    for at in range(0, len(pairs), at_once):
        one, other = pairs[at : at + at_once].T
        counts[at : at + at_once] = (sketches[one] == sketches[other]).sum(axis=1)
    return counts


def near_finding(rule: str, jaccard_index: float, *, match: int | None = None) -> Finding:
    """A near-duplicate as a finding; `match` as in `Finding`."""
    what = {
        "near_duplicate": "an earlier row of this Datanet",
        "near_duplicate_elsewhere": "a row of another public Datanet",
        "held_out": "a row that a version holds out",
    }[rule]
    shared = int(100 * jaccard_index)
    return Finding(
        rule=rule,
        sentence=f"Shares {shared}% of its words and word pairs with {what}.",
        measured=round(jaccard_index, 4),
        threshold=NEAR_JACCARD,
        match=match,
    )
