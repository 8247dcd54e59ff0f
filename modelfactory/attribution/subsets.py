"""Which records each retraining of a calibration keeps. Imports no torch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Signs = npt.NDArray[np.int8]


def half_subsets(record_ids: Sequence[str], count: int, seed: int | str) -> list[frozenset[str]]:
    """``count`` random halves of the records, each followed by its complement; seeded.

    Pairs keep every record in exactly half of the subsets: no record's with-against-without is
    mixed up with how often others happened to be kept.
    """
    key = seed if isinstance(seed, str) else f"subsets-{seed}"
    rng = random.Random(key)  # noqa: S311 - reproducible, not secret
    names = sorted(record_ids)
    found: list[frozenset[str]] = []
    while len(found) < count:
        half = frozenset(rng.sample(names, len(names) // 2))
        found += [half, frozenset(names) - half]
    return found[:count]


def membership(record_ids: Sequence[str], subsets: Sequence[frozenset[str]]) -> Signs:
    """[subsets, records]: +1 where the subset keeps the record, -1 where it does not."""
    rows = [[1 if name in kept else -1 for name in record_ids] for kept in subsets]
    return np.array(rows, dtype=np.int8).reshape(len(subsets), len(record_ids))


def pretended_membership(count: int, subsets: int, seed: int) -> Signs:
    """[subsets, count] of records that were never trained: what chance alone would say of them."""
    pairs = -(-subsets // 2)
    raw = hashlib.shake_256(f"pretended-{seed}".encode()).digest(pairs * count)
    signs = np.where(np.frombuffer(raw, dtype=np.uint8) & 1, 1, -1).astype(np.int8)
    signs = signs.reshape(pairs, count)
    return np.stack([signs, -signs], axis=1).reshape(2 * pairs, count)[:subsets]
