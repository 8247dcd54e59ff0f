"""The integers of `scan.dots`, sooner: int8 matrix products instead of float64.

A query is int16 and the hardware multiplies int8, so every component becomes three digits of base
128 in [-64, 63]: with seven bits the int16 pairs of processors without VNNI do not saturate, and
|dot of digits| ≤ 64 · 128 · 65536 = 2^29 stays inside the kernel's int32. The kernel works on 16
columns whatever it is given, so five rows are read as one and a block-diagonal matrix keeps their
products apart: fewer, longer rows to copy and the same arithmetic.

Blocks fit the second-level cache (the kernel copies its operand) and are always of the shape that
was checked: `torch._int_mm` is a private function, and its product of one row with a transposed
matrix was seen to be wrong. Where the check fails, `scan.dots` answers, as it does after the last
whole block.
"""

from __future__ import annotations

import logging
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch

from modelfactory.attribution.scan import Int16, Int64
from modelfactory.attribution.scan import dots as exact_dots
from modelfactory.attribution.sketch import Int8

MAXIMUM_WIDTH = 65_536
FOLD = 5
"""Rows read as one; three digits of five rows are 15 columns."""
FOLDED_BYTES = 1 << 14
"""Longer rows gain nothing from it."""

BLOCK_BYTES = 1 << 19
MAXIMUM_BLOCK_ROWS = 4_096
BLOCKS_PER_TASK = 16
"""So that a task is long beside its overhead, and a busy core gets fewer of them."""
CHECK_SEED = 1

_log = logging.getLogger(__name__)


def fast_dots(rows: Int8, query: Int16) -> Int64:
    """Exact dot products [n] of rows [n, k] and a query [k]: the integers of `scan.dots`."""
    count, width = rows.shape
    if not 0 < width <= MAXIMUM_WIDTH or not rows.flags.c_contiguous or not _agrees(width):
        return exact_dots(rows, query)
    dots = np.empty(count, dtype=np.int64)
    whole = count - count % block_rows(width)
    _scan(rows[:whole], query, dots[:whole])
    dots[whole:] = exact_dots(rows[whole:], query)
    return dots


def block_rows(width: int) -> int:
    """Rows of one product, a multiple of the fold."""
    fold = _fold(width)
    return fold * max(2, min(BLOCK_BYTES // width, MAXIMUM_BLOCK_ROWS) // fold)


def _fold(width: int) -> int:
    return FOLD if width * FOLD <= FOLDED_BYTES else 1


def threads() -> int:
    """One a core: the scan waits for memory, and one core cannot keep it busy."""
    return min(len(os.sched_getaffinity(0)), 8)


def _scan(rows: Int8, query: Int16, dots: Int64) -> None:
    """Fill ``dots`` [n]; n is a multiple of the block."""
    width = rows.shape[1]
    block, fold = block_rows(width), _fold(width)
    with warnings.catch_warnings():
        # The rows are a read-only memory map, and nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        matrix = torch.from_numpy(rows).reshape(-1, fold * width)
    columns = _columns(query, fold)

    def task(start: int) -> None:
        stop = min(start + block * BLOCKS_PER_TASK, len(dots))
        products = torch.empty(((stop - start) // fold, 3 * fold), dtype=torch.int32)
        for at in range(start, stop, block):
            part = products[(at - start) // fold : (at - start + block) // fold]
            torch._int_mm(matrix[at // fold : (at + block) // fold], columns, out=part)
        low, middle, high = products.numpy().reshape(-1, 3).T
        found = dots[start:stop]
        np.multiply(high, 128, dtype=np.int64, out=found)
        found += middle
        found *= 128
        found += low

    starts = range(0, len(dots), block * BLOCKS_PER_TASK)
    if len(starts) < 2 or threads() == 1:
        for start in starts:
            task(start)
    else:
        list(_pool().map(task, starts))


def _columns(query: Int16, fold: int) -> torch.Tensor:
    """int8 [fold · k, fold · 3]: the digits of ``query`` [k], lowest first, once for each row."""
    rest = query.astype(np.int32)
    digits = np.empty((len(query), 3), dtype=np.int8)
    for at in range(3):
        low = (rest + 64) % 128 - 64
        digits[:, at] = low
        rest = (rest - low) // 128
    return torch.from_numpy(np.kron(np.eye(fold, dtype=np.int8), digits))


@cache
def _pool() -> ThreadPoolExecutor:
    """Each thread multiplies alone; torch's own threads would only wait for each other."""
    return ThreadPoolExecutor(threads(), "scan", initializer=torch.get_num_threads)


os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _agrees(width: int) -> bool:
    """Whether blocks of this width give the integers of `scan.dots` here: once per process, on
    the largest values of either sign and on random ones."""
    generator = np.random.default_rng(CHECK_SEED)
    count = block_rows(width)
    rows = generator.integers(-127, 128, (count, width), dtype=np.int8)
    signs = np.where(np.arange(width) % 2, -1, 1)
    extremes = [np.full(width, 127), np.full(width, -127), 127 * signs, -127 * signs]
    for at, values in enumerate(extremes[:count]):
        rows[at] = values
    queries = [
        np.full(width, 32767),
        np.full(width, -32767),
        8127 * signs,  # digits 63 and 63
        np.full(width, -8256),  # digits -64 and -64
        generator.integers(-32767, 32768, width),
    ]
    for query in (values.astype(np.int16) for values in queries):
        dots = np.full(count, -1, dtype=np.int64)
        try:
            _scan(rows, query, dots)
        except (RuntimeError, AttributeError) as error:
            _log.warning("int8 products do not work here, the slow scan is used: %s", error)
            return False
        if not np.array_equal(dots, exact_dots(rows, query)):
            _log.warning("int8 products are not exact here for %d columns, slow scan", width)
            return False
    return True
