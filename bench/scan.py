"""Scanning every row of an index for one query: ours in exact integers, numpy in fp32.

Both read rows of 512 numbers with as many threads as there are cores, in turns, so that other work
on the machine slows both; a single-threaded numpy is not measured. Ours scans a read-only memory
map, as the worker does. The bandwidth is that of one core summing the same rows as int64.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

DIMENSIONS = 512
RECORDS = (1_000, 10_000, 100_000, 1_000_000)
SEED = 1


def measure(records: tuple[int, ...] = RECORDS) -> dict[str, Any]:
    """Figures for `docs/benchmarks/scan.json`."""
    import torch

    from modelfactory.attribution.fast_scan import THREADS, fast_dots
    from modelfactory.attribution.scan import dots as exact_dots

    torch.set_num_threads(1)  # as in the worker
    generator = np.random.default_rng(SEED)
    query = generator.integers(-32767, 32768, DIMENSIONS).astype(np.int16)
    query_fp32 = query.astype(np.float32)
    by_records = {}
    bandwidths: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-scan-") as name:
        for count in records:
            drawn = generator.integers(-127, 128, (count, DIMENSIONS), dtype=np.int8)
            path = Path(name, f"{count}.int8")
            drawn.tofile(path)
            rows = np.memmap(path, dtype=np.int8, mode="r").reshape(-1, DIMENSIONS)
            rows_fp32 = drawn.astype(np.float32)
            assert np.array_equal(fast_dots(rows, query), exact_dots(rows, query))
            words = rows.reshape(-1).view(np.int64)
            rounds = 15 if count == max(records) else 40
            ours, numpy, reading = _in_turns(
                rounds,
                partial(fast_dots, rows, query),
                partial(np.matmul, rows_fp32, query_fp32),
                partial(np.sum, words),
            )
            bandwidths = [rows.nbytes / 1e6 / one for one in reading]
            started = time.perf_counter()
            exact_dots(rows, query)
            by_records[str(count)] = {
                "ours_ms": _summary(ours),
                "numpy_fp32_ms": _summary(numpy),
                "exact_dots_ms": round((time.perf_counter() - started) * 1e3, 3),
                "ratio_numpy_fp32": round(float(np.median(numpy) / np.median(ours)), 2),
                "ratio_numpy_fp32_fastest": round(min(numpy) / min(ours), 2),
                "ours_gb_s": round(rows.nbytes / 1e6 / float(np.median(ours)), 2),
            }
            del rows, words, rows_fp32, drawn
            path.unlink()
    largest: dict[str, Any] = by_records[str(max(records))]
    return {
        "scan_1m_ms": largest["ours_ms"]["p50"],
        "scan_1m_ratio_numpy_fp32": largest["ratio_numpy_fp32"],
        "bandwidth_gb_s": round(float(np.median(bandwidths)), 2),
        "by_records": by_records,
        "threads": THREADS,
        "dimensions": DIMENSIONS,
        "same_integers_as_exact_dots": True,
        "processor": platform.processor() or platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _in_turns(rounds: int, *calls: Callable[[], object]) -> list[list[float]]:
    """Milliseconds of each call; one round runs all of them, and the first is not counted."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, found in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            found.append((time.perf_counter() - started) * 1e3)
    return [found[1:] for found in times]


def _summary(times: list[float]) -> dict[str, float]:
    return {
        "p50": round(float(np.percentile(times, 50)), 3),
        "p95": round(float(np.percentile(times, 95)), 3),
        "fastest": round(min(times), 3),
    }
