"""The integers of ``scan.dots`` at the speed of memory: one loop, compiled for this processor.

numba turns the loop into the processor's own instruction for sums of 16-bit products (``vpmaddwd``,
``vpdpwssd`` with VNNI), which needs the product typed as int32: numba's own would be int64. A sum
over ``BLOCK`` columns, 256 · 128 · 32,768, fits int32 whatever the rows hold; blocks add in int64.

The processor fetches ahead by itself only inside a page of 4 KB, and an index is mapped in such
pages, so the loop asks for the rows that come after it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from modelfactory.attribution.scan import Int16, Int64
from modelfactory.attribution.sketch import Int8

BLOCK = 256
CACHE_LINE = 64
AHEAD = 8 << 10
"""Bytes between what is multiplied and what is asked for: of 0.5 to 16 KB the best at both sizes
measured (docs/experiments.md)."""
THREADS = 2
SPAN_BYTES = 4 << 20
"""The least that a thread takes at a time; less is not worth a second one."""
SPANS = 4 * THREADS
"""Of a long scan: few, for each costs a start, and enough that no thread waits long at the end."""

_PREFETCH = "llvm.prefetch.p0"

Kernel = Callable[[Int8, Int16, Int64], None]
"""Writes the dot products of rows [n, k] and a query [k] into the third array [n]."""


def fast_dots(rows: Int8, query: Int16) -> Int64:
    """Exact dot products [n] of ``rows`` [n, k] and ``query`` [k], those of ``scan.dots``."""
    count, width = rows.shape
    values, vector = np.ascontiguousarray(rows), np.ascontiguousarray(query)
    result, multiply = np.empty(count, dtype=np.int64), _kernel()
    step = max(1, SPAN_BYTES // max(1, width), count // SPANS)
    if count <= step:
        multiply(values, vector, result)
        return result
    spans = [slice(start, start + step) for start in range(0, count, step)]
    work = [_pool().submit(multiply, values[span], vector, result[span]) for span in spans]
    for one in work:
        one.result()
    return result


@lru_cache(maxsize=1)
def _kernel() -> Kernel:
    """Compiled on first use, in about a second. It holds no lock of Python while it runs."""
    from numba import njit, types
    from numba.extending import intrinsic

    add_product: Any = intrinsic(_typed_product)
    fetch: Any = intrinsic(_typed_prefetch)

    def multiply(rows: Any, query: Any, result: Any) -> None:
        width = rows.shape[1]
        whole = width // BLOCK * BLOCK
        for at in range(rows.shape[0]):
            total = np.int64(0)
            for start in range(0, whole, BLOCK):
                for line in range(0, BLOCK, CACHE_LINE):
                    fetch(rows, at * width + start + AHEAD + line)
                part, factors = rows[at, start : start + BLOCK], query[start : start + BLOCK]
                subtotal = np.int32(0)
                for place in range(BLOCK):  # a constant, or this loop is not vectorised
                    subtotal = add_product(subtotal, part[place], factors[place])
                total += subtotal
            rest = np.int32(0)
            for place in range(whole, width):
                rest = add_product(rest, rows[at, place], query[place])
            result[at] = total + rest

    given = types.void(
        types.Array(types.int8, 2, "C", readonly=True),
        types.Array(types.int16, 1, "C", readonly=True),
        types.int64[::1],
    )
    compiled: Kernel = njit(given, nogil=True, error_model="numpy")(multiply)
    return compiled


def _typed_product(context: Any, total: Any, value: Any, factor: Any) -> Any:
    """``total + value · factor`` in int32, as numba wants it: a signature, and code for it."""
    from llvmlite import ir
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        so_far, left, right = arguments
        wide = ir.IntType(32)
        product = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        return builder.add(so_far, product)

    return types.int32(types.int32, types.int8, types.int16), code


def _typed_prefetch(context: Any, rows: Any, at: Any) -> Any:
    """Ask for the cache line that holds byte ``at`` of ``rows``. Past their end it does nothing."""
    from llvmlite import ir
    from numba import types

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, address = ir.IntType(32), ir.IntType(8).as_pointer()
        taken = ir.FunctionType(ir.VoidType(), [address, wide, wide, wide])
        known = builder.module.globals.get(_PREFETCH)
        prefetch = known or ir.Function(builder.module, taken, _PREFETCH)
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = builder.gep(builder.bitcast(start, address), [arguments[1]])
        builder.call(prefetch, [byte, wide(0), wide(3), wide(1)])  # to read, to keep, data
        return context.get_dummy_value()

    return types.void(rows, types.intp), code


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "scan")
