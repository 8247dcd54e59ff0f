"""A small index scores by the span of its own records: chance of the sketch's seed hardly tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelfactory.attribution.basis import Basis, WideRows, room, widened
from modelfactory.attribution.build import IndexSettings
from modelfactory.attribution.fast_scan import fast_dots
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError
from modelfactory.attribution.index_withdrawal import delete_records
from modelfactory.attribution.index_writing import TrackRows, append_records, write_index
from modelfactory.attribution.sketch import Sketch, plan_sketch
from modelfactory.tests.attribution import small_index
from modelfactory.tests.attribution.small_index import IDENTITY, agreement, record, texts
from modelfactory.tests.attribution.test_index import build

SIZES = {"first": 6000, "second": 5000}
DIMENSIONS, RECORDS, PHANTOMS, ANSWERS = 160, 40, 8, 6
RANDOM = np.random.default_rng(5)


def gradients(count: int) -> dict[str, np.ndarray]:
    """Most of their length in few directions, as gradients have it."""
    return {
        name: (
            RANDOM.normal(size=(count, 12)) @ np.random.default_rng(1).normal(size=(12, size))
            + RANDOM.normal(size=(count, size))
        ).astype(np.float32)
        for name, size in SIZES.items()
    }


TRAINED, NOISE = gradients(RECORDS), gradients(PHANTOMS)
# Each answer has a part of some records and much that no record has.
ASKED = {
    name: (RANDOM.normal(size=(ANSWERS, RECORDS)) @ rows / RECORDS + gradients(ANSWERS)[name])
    .astype(np.float32)
    for name, rows in TRAINED.items()
}  # fmt: skip


def plans(seed: int) -> tuple[Sketch, Sketch]:
    sketch = plan_sketch(SIZES, dimensions=DIMENSIONS, seed=seed)
    return sketch, widened(sketch, 48)


def built(folder, seed=1, small=True, kept=tuple(range(RECORDS))) -> AttributionIndex:
    sketch, wide = plans(seed)
    used = wide if small else sketch
    write_index(
        folder,
        identity=IDENTITY,
        sketch=sketch,
        wide=wide if small else None,
        records=[record(at) for at in kept],
        tracks=[TrackRows(used.project(TRAINED)[list(kept)], used.project(NOISE))],
        texts=texts(len(kept)),
        phantom_texts=texts(PHANTOMS),
    )
    return AttributionIndex(folder, dots=fast_dots)


def scored(index: AttributionIndex) -> np.ndarray:
    return small_index.scored(index, ASKED)


@pytest.fixture
def index(tmp_path):
    return built(tmp_path / "index")


def test_scores_of_two_sketch_seeds_agree_where_those_of_narrow_sketches_do_not(tmp_path):
    small, narrow = (
        agreement([scored(built(tmp_path / f"{way}-{seed}", seed, way)) for seed in (1, 2, 3)])
        for way in (True, False)
    )
    assert small > 0.95
    assert narrow < 0.8


def test_products_of_rows_are_those_of_their_wide_sketches(index):
    basis = index.tracks[0].basis
    rows = basis.stored()
    for at, part in enumerate(basis.sketch.slices):
        wide = basis.rows.blocks[at] * basis.rows.scales[:, at, None]
        expected = wide @ wide[:RECORDS].T
        found = rows[:, part] @ rows[:RECORDS, part].T
        assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_what_lies_outside_the_span_is_kept_in_expectation():
    def product(seed: int) -> float:
        sketch, wide = plans(seed)
        rows = WideRows.of(np.vstack([wide.project(TRAINED), wide.project(NOISE)]), wide.slices)
        values = Basis(sketch, wide, rows, RECORDS).stored()[RECORDS:]
        return float((values[0] ** 2).sum())

    exact = sum(float((NOISE[name][0] ** 2).sum()) for name in SIZES)
    assert np.mean([product(seed) for seed in range(20)]) == pytest.approx(exact, rel=0.1)


def test_an_answer_is_placed_where_a_stored_row_of_the_same_gradient_is(index):
    basis = index.tracks[0].basis
    found = basis.coordinates(index.wide.project(NOISE)[3], fast_dots)
    expected = basis.stored()[RECORDS + 3]
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


def test_copies_of_a_record_are_no_error():
    sketch, wide = plans(1)
    values = np.repeat(wide.project(TRAINED)[:1], 3, axis=0)
    same = Basis(sketch, wide, WideRows.of(values, wide.slices), 3)
    lengths = np.linalg.norm(same.stored(), axis=1)
    assert lengths == pytest.approx(lengths[0], rel=1e-3)


# Withdrawals


def files_of(index: AttributionIndex) -> dict[str, str]:
    return {name: file["sha256"] for name, file in index.manifest["files"].items()}


def test_a_withdrawn_record_has_no_part_in_the_basis_any_more(index, tmp_path):
    gone = 7
    delete_records(index, {record(gone).record_id}, tmp_path / "less")
    less = AttributionIndex(tmp_path / "less", dots=fast_dots)
    kept = tuple(at for at in range(RECORDS) if at != gone)
    fresh = built(tmp_path / "fresh", kept=kept)
    for file in ("0-wide.int8", "0-wide-scales.npy", "0-basis.npy"):
        assert files_of(less)[file] == files_of(fresh)[file]
    row = index.tracks[0].basis.rows.blocks[0][gone].tobytes()
    assert any(row in path.read_bytes() for path in index.folder.iterdir())
    assert not any(row in path.read_bytes() for path in less.folder.iterdir())
    assert agreement([scored(less), scored(fresh)]) > 0.99


def test_adding_records_and_taking_them_away_gives_the_very_same_files(tmp_path):
    few = built(tmp_path / "few", kept=tuple(range(30)))
    more = {name: rows[30:] for name, rows in TRAINED.items()}
    append_records(
        few,
        tmp_path / "more",
        records=[record(at) for at in range(30, RECORDS)],
        rows=[few.tracks[0].projection.project(more)],
        texts=texts(RECORDS)[30:],
    )
    whole = AttributionIndex(tmp_path / "more", dots=fast_dots)
    assert agreement([scored(whole), scored(built(tmp_path / "whole"))]) > 0.99
    delete_records(whole, {record(at).record_id for at in range(30, RECORDS)}, tmp_path / "less")
    assert files_of(AttributionIndex(tmp_path / "less")) == files_of(few)


def test_withdrawing_one_after_the_other_is_withdrawing_both(index, tmp_path):
    delete_records(index, {"record-002", "record-011"}, tmp_path / "both")
    delete_records(index, {"record-002"}, tmp_path / "one")
    delete_records(AttributionIndex(tmp_path / "one"), {"record-011"}, tmp_path / "two")
    both, two = (AttributionIndex(tmp_path / name) for name in ("both", "two"))
    assert files_of(both) == files_of(two)


# Its limits


def test_more_records_than_a_basis_has_room_for_are_refused_with_a_remedy(index, tmp_path):
    space = room(*plans(1))
    count = space - RECORDS + 1
    with pytest.raises(ValueError, match=rf"room for {space} records, not {space + 1}: build"):
        append_records(
            index,
            tmp_path / "more",
            records=[record(at) for at in range(RECORDS, RECORDS + count)],
            rows=[index.tracks[0].projection.project(gradients(count))],
            texts=texts(count),
        )
    assert not (tmp_path / "more").exists()


def test_an_index_with_more_records_is_built_without_a_basis(tmp_path, model, records, phantoms):
    settings = IndexSettings(dimensions=14 * 8, seed=7, batch_size=4)  # 6 in a basis of 8
    build(tmp_path / "large", model, records, phantoms, settings)
    build(tmp_path / "small", model, records[:6], phantoms, settings)
    build(tmp_path / "plain", model, records[:6], phantoms, replace(settings, widening=0))
    large, small, plain = (
        AttributionIndex(tmp_path / name) for name in ("large", "small", "plain")
    )
    assert large.wide is None
    assert large.tracks[0].basis is None
    assert small.tracks[0].basis.count == 6
    assert plain.wide is None


@pytest.mark.parametrize("name", ["0-wide.int8", "0-wide-scales.npy", "0-basis.npy"])
def test_a_changed_basis_is_found_by_its_digest(index, name):
    path = index.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IndexDamagedError, match=name):
        AttributionIndex(index.folder)
