"""Exact dot products of int8 rows and an int16 query: the arithmetic that receipts replay.

This is the reference, without torch; ``fast_scan`` gives the same integers sooner.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.sketch import Int8

Int16 = npt.NDArray[np.int16]
Int64 = npt.NDArray[np.int64]
Dots = Callable[[Int8, Int16], Int64]
"""Rows [n, k] and a query [k] to exact dot products [n]."""

BLOCK_ROWS = 8_192


def dots(rows: Int8, query: Int16) -> Int64:
    """Exact integer dot products [n] of ``rows`` [n, k] and ``query`` [k].

    Below 2^53 every partial sum is exact in float64 too, in any order, so the fast BLAS product
    gives the same integers as an integer loop. Blocks keep a memory map on disk.
    """
    vector = query.astype(np.float64)
    result = np.empty(rows.shape[0], dtype=np.int64)
    for start in range(0, rows.shape[0], BLOCK_ROWS):
        block = np.asarray(rows[start : start + BLOCK_ROWS], dtype=np.float64)
        result[start : start + BLOCK_ROWS] = block @ vector
    return result
