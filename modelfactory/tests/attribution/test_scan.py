from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfactory.attribution import fast_scan, scan
from modelfactory.attribution.fast_scan import fast_dots


def plain(rows, query) -> list[int]:
    """Python's own integers, which cannot overflow."""
    return (rows.astype(object) @ query.astype(object)).tolist()


def drawn(seed: int, count: int, width: int, limit: int = 32_767):
    random = np.random.default_rng(seed)
    rows = random.integers(-127, 128, (count, width), dtype=np.int8)
    return rows, random.integers(-limit, limit + 1, width).astype(np.int16)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 40),
    width=st.sampled_from([1, 2, 3, 5, 63, 64, 65, 300, 512]),
    limit=st.sampled_from([0, 1, 63, 64, 8_191, 8_256, 32_767]),
)
@settings(deadline=None, max_examples=60)
def test_both_scans_are_plain_integer_arithmetic(seed, count, width, limit):
    rows, query = drawn(seed, count, width, limit)
    expected = plain(rows, query)
    assert scan.dots(rows, query).tolist() == expected
    assert fast_dots(rows, query).tolist() == expected


@given(
    values=st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=30),
    fold=st.integers(1, 5),
)
def test_the_digits_of_a_query_stand_for_it(values, fold):
    columns = fast_scan._columns(np.array(values, dtype=np.int16), fold).numpy().astype(int)
    assert columns.min() >= -64
    assert columns.max() <= 63
    blocks = columns.reshape(fold, len(values), fold, 3) @ [1, 128, 128 * 128]
    for row in range(fold):
        assert blocks[row, :, row].tolist() == values
        blocks[row, :, row] = 0
    assert not blocks.any()


@pytest.mark.parametrize("width", [1, 512, 4_096, 65_536])
@pytest.mark.parametrize("row", [-128, -127, 127])
@pytest.mark.parametrize("value", [-32_768, -32_767, -8_256, 64, 8_256, 32_767])
def test_extreme_values_neither_saturate_nor_overflow(width, row, value):
    rows = np.full((5, width), row, dtype=np.int8)
    query = np.full(width, value, dtype=np.int16)
    assert scan.dots(rows, query).tolist() == [row * value * width] * 5
    assert fast_dots(rows, query).tolist() == [row * value * width] * 5


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 2_047, 2_048, 2_049, 32_769, 70_003])
@pytest.mark.usefixtures("one_thread")
def test_counts_that_are_no_whole_blocks_or_spans(count):
    rows, query = drawn(count, count, 512)
    assert fast_dots(rows, query).tolist() == scan.dots(rows, query).tolist()


def test_several_threads_of_torch_give_the_same_integers():
    rows, query = drawn(1, 40_000, 512)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert fast_dots(rows, query).tolist() == scan.dots(rows, query).tolist()
    finally:
        torch.set_num_threads(before)


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


@pytest.fixture
def fresh_checks():
    fast_scan._agrees.cache_clear()
    yield
    fast_scan._agrees.cache_clear()


@pytest.mark.usefixtures("fresh_checks")
def test_a_torch_that_saturates_is_not_used(monkeypatch, caplog):
    def saturating(rows, columns, *, out):
        out.copy_((rows.int() @ columns.int()).clamp(-32_768, 32_767))

    monkeypatch.setattr(torch, "_int_mm", saturating)
    rows, query = drawn(3, 50, 40)
    assert fast_dots(rows, query).tolist() == plain(rows, query)
    assert "not exact here for 40 columns" in caplog.text


@pytest.mark.usefixtures("fresh_checks")
def test_a_torch_that_leaves_the_result_as_it_was_is_not_used(monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", lambda rows, columns, *, out: out)
    rows, query = drawn(4, 50, 40)
    assert fast_dots(rows, query).tolist() == plain(rows, query)


def test_replaying_loads_no_torch():
    code = "import sys, modelfactory.attribution.record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
