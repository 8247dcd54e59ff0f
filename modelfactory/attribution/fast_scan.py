"""The integers of ``scan.dots`` at nearly the speed of memory: int8 products of oneDNN, by torch.

A query value is written in base 128, ``q = lo + 128·mid + 16384·hi``, so that its digits are int8
columns, and ``torch._int_mm`` multiplies rows and digits with int32 sums. Digits stay in [-64, 63]
for two reasons: processors without VNNI add two products of an unsigned byte in 16 bits, which
2·255·64 just fits (a digit of 8 bits saturates there, silently); and a sum over the widest index,
255·64·65,536, fits int32. ``_int_mm`` is private to torch and has had wrong results on some
processors and shapes, so each width is compared with ``scan.dots`` before its first use; where they
differ, ``scan.dots`` answers.
"""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import repeat

import numpy as np
import numpy.typing as npt
import torch

from modelfactory.attribution import scan
from modelfactory.attribution.scan import Int16, Int64
from modelfactory.attribution.sketch import Int8

DIGIT_BITS = 7
DIGITS = 3
MAXIMUM_DIMENSIONS = 65_536
"""Of a row; see above."""
THREADS = 2
BLOCK_BYTES = 1 << 20
"""Rows of one product: these and oneDNN's packed copy of a part stay in a core's L2 cache."""
SPAN_BYTES = 16 * BLOCK_BYTES
"""What a thread takes at a time."""
FOLD, FOLD_BYTES = 4, 4_096
"""Rows that are multiplied as one long row, while that is at most so long."""

_log = logging.getLogger(__name__)


def fast_dots(rows: Int8, query: Int16) -> Int64:
    """Exact dot products [n] of ``rows`` [n, k] and ``query`` [k], those of ``scan.dots``."""
    count, width = rows.shape
    if not count or not 0 < width <= MAXIMUM_DIMENSIONS or not _agrees(width):
        return scan.dots(rows, query)
    return _dots(rows, query)


@lru_cache(maxsize=64)
def _agrees(width: int) -> bool:
    """Whether rows of ``width`` come out as in ``scan.dots`` here: a full block, a part of one and
    a rest, random and with all values at their limits."""
    random = np.random.default_rng(width)
    fold = _fold(width)
    count = _block(width) * fold + 2 * fold + 1
    rows = random.integers(-127, 128, (count, width), dtype=np.int8)
    rows[::3] = np.where(rows[::3] < 0, -127, 127)
    rows[::5], rows[1::5] = 127, -127
    for limit in (32_767, 8_256, 64):  # all three digits, and the lower two, at their limits
        signs = np.where(random.integers(0, 2, width), 1, -1)
        for query in (np.full(width, limit), limit * signs, random.integers(-limit, limit, width)):
            values = query.astype(np.int16)
            if not np.array_equal(_dots(rows, values), scan.dots(rows, values)):
                _log.warning("torch._int_mm is not exact here for %d columns; using numpy", width)
                return False
    return True


def _fold(width: int) -> int:
    """How many rows [k] are read as one: the processor prefetches long rows better."""
    return max(1, min(FOLD, FOLD_BYTES // width))


def _block(width: int) -> int:
    """Folded rows of one product."""
    return max(1, BLOCK_BYTES // (_fold(width) * width))


def _dots(rows: Int8, query: Int16) -> Int64:
    count, width = rows.shape
    fold = _fold(width)
    whole = count // fold * fold
    result = np.empty(count, dtype=np.int64)
    result[whole:] = scan.dots(rows[whole:], query)
    if not whole:
        return result
    # A flat tensor, because `view` then makes the strides: oneDNN silently leaves the result as it
    # was for a single row whose stride is not its length, and numpy does not promise that.
    folded = _tensor(rows[:whole]).view(-1, fold * width)
    columns = _columns(query, fold)
    step = max(1, SPAN_BYTES // (fold * width))
    starts = range(0, len(folded), step)
    spans = [folded[start : start + step] for start in starts]
    targets = [result[start * fold : min((start + step) * fold, whole)] for start in starts]
    if len(spans) == 1 or torch.get_num_threads() > 1:  # else `_int_mm` starts threads of its own
        for span, target in zip(spans, targets, strict=True):
            _multiply(span, columns, target)
    else:
        list(_pool().map(_multiply, spans, repeat(columns), targets))
    return result


def _multiply(span: torch.Tensor, columns: torch.Tensor, target: Int64) -> None:
    """``target`` [s·fold] = dot products of the folded rows ``span`` [s, fold·k]."""
    fold = columns.shape[1] // DIGITS
    block = _block(columns.shape[0] // fold)
    space = torch.empty((min(block, len(span)), columns.shape[1]), dtype=torch.int32)
    for start in range(0, len(span), block):
        part = span[start : start + block]
        products = space[: len(part)]
        torch._int_mm(part, columns, out=products)
        digits = products.numpy().reshape(-1, DIGITS)
        sums = target[start * fold : (start + len(part)) * fold]
        sums[:] = digits[:, DIGITS - 1]
        for place in reversed(range(DIGITS - 1)):
            np.left_shift(sums, DIGIT_BITS, out=sums)
            np.add(sums, digits[:, place], out=sums)


def _columns(query: Int16, fold: int) -> torch.Tensor:
    """The digits of ``query`` [k] as int8 [fold·k, fold·3]: a block diagonal, so that each of the
    rows that are read as one meets only its own columns."""
    width, half = len(query), 1 << (DIGIT_BITS - 1)
    columns = np.zeros((fold, width, fold, DIGITS), dtype=np.int8)
    rest: npt.NDArray[np.int32] = query.astype(np.int32)
    for place in range(DIGITS):
        digit = ((rest + half) & (2 * half - 1)) - half
        for row in range(fold):
            columns[row, :, row, place] = digit
        rest = (rest - digit) >> DIGIT_BITS
    return torch.from_numpy(columns.reshape(fold * width, fold * DIGITS))


def _tensor(values: Int8) -> torch.Tensor:
    """``values`` [n, k] as one flat tensor, without a copy where they are contiguous; torch warns
    once that a read-only map could be written to."""
    flat = np.ascontiguousarray(values).reshape(-1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(flat)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """Threads that split a scan; only for a process whose torch has one thread.

    The initializer makes a thread adopt torch's number of threads, one; oneDNN asks OpenMP, which
    would otherwise start as many as there are cores for each.
    """
    return ThreadPoolExecutor(THREADS, "scan", initializer=torch.get_num_threads)
