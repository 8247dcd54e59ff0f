from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfactory.attribution import scan
from modelfactory.attribution.fast_scan import fast_dots


def plain(rows, query) -> list[int]:
    """Python's own integers, which cannot overflow."""
    return (rows.astype(object) @ query.astype(object)).tolist()


def drawn(seed: int, count: int, width: int, limit: int = 32_767):
    random = np.random.default_rng(seed)
    rows = random.integers(-127, 128, (count, width), dtype=np.int8)
    return rows, random.integers(-limit, limit + 1, width).astype(np.int16)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 40),
    width=st.sampled_from([1, 2, 3, 5, 63, 255, 256, 257, 300, 512]),
    limit=st.sampled_from([0, 1, 63, 64, 8_191, 8_256, 32_767]),
)
@settings(deadline=None, max_examples=60)
def test_both_scans_are_plain_integer_arithmetic(seed, count, width, limit):
    rows, query = drawn(seed, count, width, limit)
    expected = plain(rows, query)
    assert scan.dots(rows, query).tolist() == expected
    assert fast_dots(rows, query).tolist() == expected


@pytest.mark.parametrize("width", [1, 512, 4_096, 65_536])
@pytest.mark.parametrize("row", [-128, -127, 127])
@pytest.mark.parametrize("value", [-32_768, -32_767, -8_256, 64, 8_256, 32_767])
def test_extreme_values_neither_saturate_nor_overflow(width, row, value):
    rows = np.full((5, width), row, dtype=np.int8)
    query = np.full(width, value, dtype=np.int16)
    assert scan.dots(rows, query).tolist() == [row * value * width] * 5
    assert fast_dots(rows, query).tolist() == [row * value * width] * 5


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8_191, 8_192, 8_193, 70_003])
def test_counts_that_are_no_whole_blocks_or_spans(count):
    rows, query = drawn(count, count, 512)
    assert fast_dots(rows, query).tolist() == scan.dots(rows, query).tolist()


@pytest.mark.parametrize("shape", [(0, 512), (0, 0), (3, 0)])
def test_nothing_to_multiply(shape):
    rows, query = np.zeros(shape, dtype=np.int8), np.zeros(shape[1], dtype=np.int16)
    for dots in (scan.dots, fast_dots):
        found = dots(rows, query)
        assert (found.dtype, found.tolist()) == (np.int64, [0] * shape[0])


def test_read_only_maps_and_other_strides(tmp_path, recwarn):
    rows, query = drawn(2, 101, 96)
    (tmp_path / "rows").write_bytes(rows.tobytes())
    mapped = np.memmap(tmp_path / "rows", dtype=np.int8, mode="r").reshape(-1, 96)
    assert fast_dots(mapped, query).tolist() == plain(rows, query)
    assert fast_dots(rows[::-2], query).tolist() == plain(rows[::-2], query)
    assert fast_dots(rows[:, ::2], query[::2]).tolist() == plain(rows[:, ::2], query[::2])
    assert not recwarn.list


def test_replaying_loads_neither_torch_nor_a_compiler():
    code = (
        "import sys, modelfactory.attribution.record;"
        " sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
