"""A larger index scores by coordinates along the main axes of gradients, which no seed draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelfactory.attribution.axes import Axes, AxesFinder
from modelfactory.attribution.build import IndexSettings
from modelfactory.attribution.fast_scan import fast_dots
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError
from modelfactory.attribution.index_withdrawal import delete_records
from modelfactory.attribution.index_writing import TrackRows, append_records, write_index
from modelfactory.attribution.sketch import plan_sketch
from modelfactory.tests.attribution import small_index
from modelfactory.tests.attribution.small_index import IDENTITY, agreement, record, texts
from modelfactory.tests.attribution.test_index import build

SHAPES = {"first": ((4, 160), (200, 4)), "second": ((4, 120), (90, 4))}
SIZES = {name: sum(a * b for a, b in layer) for name, layer in SHAPES.items()}
DIMENSIONS, RECORDS, PHANTOMS, ANSWERS = 160, 120, 8, 8
RANDOM = np.random.default_rng(11)


def _matrices(count: int, rows: int, columns: int, seed: int) -> np.ndarray:
    """Gradients [count, rows · columns] most of whose length lies in few rows and columns."""
    fixed = np.random.default_rng(seed)
    left, right = (np.linalg.qr(fixed.normal(size=(side, side)))[0] for side in (rows, columns))
    fall = np.outer(0.7 ** np.arange(rows), 0.8 ** np.arange(columns))
    drawn = RANDOM.normal(size=(count, rows, columns)) * fall
    return (left @ drawn @ right).reshape(count, -1)


def gradients(count: int) -> dict[str, np.ndarray]:
    return {
        name: np.hstack(
            [_matrices(count, *matrix, seed=at) for at, matrix in enumerate(layer)]
        ).astype(np.float32)
        for name, layer in SHAPES.items()
    }


TRAINED, NOISE = gradients(RECORDS), gradients(PHANTOMS)
ASKED = {
    name: (RANDOM.normal(size=(ANSWERS, RECORDS)) @ rows / RECORDS + gradients(ANSWERS)[name])
    .astype(np.float32)
    for name, rows in TRAINED.items()
}  # fmt: skip


def axes_of(given: dict[str, np.ndarray], seed: int = 1, dimensions: int = DIMENSIONS) -> Axes:
    finder = AxesFinder(plan_sketch(SIZES, dimensions=dimensions, seed=seed), SHAPES)
    for at in range(0, RECORDS, 16):
        finder.add({name: rows[at : at + 16] for name, rows in given.items()})
    return finder.found()


def built(folder, seed=1, by_axes=True, kept=RECORDS) -> AttributionIndex:
    sketch = plan_sketch(SIZES, dimensions=DIMENSIONS, seed=seed)
    axes = axes_of(TRAINED, seed) if by_axes else None
    used = axes or sketch
    write_index(
        folder,
        identity=IDENTITY,
        sketch=sketch,
        records=[record(at) for at in range(kept)],
        tracks=[TrackRows(used.project(TRAINED)[:kept], used.project(NOISE), axes)],
        texts=texts(kept),
        phantom_texts=texts(PHANTOMS),
    )
    return AttributionIndex(folder, dots=fast_dots)


def scored(index: AttributionIndex) -> np.ndarray:
    return small_index.scored(index, ASKED)


@pytest.fixture
def index(tmp_path):
    return built(tmp_path / "index")


# What axes are


def test_coordinates_along_all_axes_keep_every_product():
    whole = axes_of(TRAINED, dimensions=sum(SIZES.values()))
    rows = whole.project(TRAINED).astype(np.float64)
    gram = sum(TRAINED[name].astype(np.float64) @ TRAINED[name].T for name in SIZES)
    # 64 directions of a side of 200 hold all that falls by a factor of .8 from one to the next.
    assert np.abs(rows @ rows.T - gram).max() < 1e-3 * np.abs(gram).max()


def test_the_axes_kept_hold_most_of_the_length():
    rows = axes_of(TRAINED).project(TRAINED)
    sketched = plan_sketch(SIZES, dimensions=DIMENSIONS, seed=1)
    exact = sum(float(np.square(rows).sum()) for rows in TRAINED.values())
    assert 0.9 < float(np.square(rows).sum()) / exact <= 1.0 + 1e-6
    assert sketched.dimensions == rows.shape[1] < sum(SIZES.values()) / 10


def test_kept_are_the_coordinates_with_the_largest_mean_square():
    few, many = axes_of(TRAINED, dimensions=40), axes_of(TRAINED)
    squares = np.square(many.project(TRAINED)).mean(axis=0)
    kept = np.square(few.project(TRAINED)).mean(axis=0)
    best = sum(float(np.sort(squares[part])[-20:].sum()) for part in many.sketch.slices)
    assert float(kept.sum()) > 0.97 * best


def test_a_matrix_without_gradients_has_no_axes():
    halved = {name: rows.copy() for name, rows in TRAINED.items()}
    halved["first"][:, : 4 * 160] = 0
    halved["second"][:] = 0
    rows = axes_of(halved).project(halved)
    assert np.isfinite(rows).all()
    assert not rows[:, 80:].any()


def test_gradients_of_other_layers_are_refused():
    with pytest.raises(ValueError, match="not of the modules"):
        axes_of(TRAINED).project({"first": TRAINED["first"]})


# Scores


def test_scores_of_two_seeds_agree_where_those_of_sketches_do_not(tmp_path):
    by_axes, sketched = (
        agreement([scored(built(tmp_path / f"{way}-{seed}", seed, way)) for seed in (1, 2, 3)])
        for way in (True, False)
    )
    assert by_axes > 0.98
    assert sketched < 0.9


def test_scores_are_nearer_to_those_of_whole_gradients(tmp_path):
    from modelfactory.attribution.influence import make_curvature, score

    whole = axes_of(TRAINED, dimensions=sum(SIZES.values()))
    rows = whole.project(TRAINED).astype(np.float64)
    balance = np.concatenate(
        [
            np.full(part.stop - part.start, np.sqrt(np.square(rows[:, part]).sum()))
            for part in whole.sketch.slices
        ]
    )
    rows /= balance
    # The damper is of the mean eigenvalue over as many numbers as a row of the index has.
    sizes = np.mean([part.stop - part.start for part in whole.sketch.slices])
    curvature = make_curvature("efim", [rows], whole.sketch.slices, 0.1 * sizes * 2 / DIMENSIONS)
    exact = np.array([score(row / balance, rows, curvature) for row in whole.project(ASKED)])
    by_axes, sketched = (
        agreement([scored(built(tmp_path / str(way), by_axes=way)), exact]) for way in (True, False)
    )
    assert by_axes > 0.98
    assert by_axes > sketched + 0.05


# The index's life


def test_what_is_written_is_what_is_read(index):
    axes = index.tracks[0].axes
    assert axes.shapes == tuple(SHAPES.values())
    assert (axes.project(ASKED) == axes_of(TRAINED).project(ASKED)).all()


def test_a_withdrawn_record_is_gone_and_the_axes_stay(index, tmp_path):
    delete_records(index, {"record-007"}, tmp_path / "less")
    less = AttributionIndex(tmp_path / "less", dots=fast_dots)
    kept = [at for at in range(RECORDS) if at != 7]
    assert [one.record_id for one in less.records] == [record(at).record_id for at in kept]
    assert (less.tracks[0].rows() == index.tracks[0].rows()[kept]).all()
    assert agreement([scored(less), scored(index)[:, kept]]) > 0.98


def test_records_are_added_along_the_same_axes_without_a_limit(index, tmp_path):
    few = built(tmp_path / "few", kept=100)
    more = {name: rows[100:] for name, rows in TRAINED.items()}
    append_records(
        few,
        tmp_path / "more",
        records=[record(at) for at in range(100, RECORDS)],
        rows=[few.tracks[0].projection.project(more)],
        texts=texts(RECORDS)[100:],
    )
    whole = AttributionIndex(tmp_path / "more", dots=fast_dots)
    assert len(whole) == RECORDS
    assert agreement([scored(whole), scored(index)]) > 0.98


def test_tracks_of_which_one_has_no_axes_are_refused(tmp_path):
    sketch, axes = plan_sketch(SIZES, dimensions=DIMENSIONS, seed=1), axes_of(TRAINED)
    own, other = (TrackRows(one.project(TRAINED), one.project(NOISE)) for one in (axes, sketch))
    with pytest.raises(ValueError, match="all tracks"):
        write_index(
            tmp_path / "index",
            identity=replace(IDENTITY, tracks=("a" * 64, "c" * 64)),
            sketch=sketch,
            records=[record(at) for at in range(RECORDS)],
            tracks=[replace(own, axes=axes), other],
            texts=texts(RECORDS),
            phantom_texts=texts(PHANTOMS),
        )
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("name", ["0-axes.npy", "0-axes-pairs.npy"])
def test_changed_axes_are_found_by_their_digest(index, name):
    path = index.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IndexDamagedError, match=name):
        AttributionIndex(index.folder)


# The build


def test_an_index_without_room_for_a_basis_is_built_along_axes(tmp_path, model, records, phantoms):
    settings = IndexSettings(dimensions=14 * 8, seed=7, batch_size=4)
    build(tmp_path / "axes", model, records, phantoms, settings)
    build(tmp_path / "plain", model, records, phantoms, replace(settings, axes_from=0))
    axes, plain = (AttributionIndex(tmp_path / name) for name in ("axes", "plain"))
    assert axes.tracks[0].axes is not None
    assert axes.tracks[0].basis is None
    assert plain.tracks[0].axes is None
    assert [one.cluster for one in axes.records] == [one.cluster for one in plain.records]


def test_axes_may_be_those_of_some_records_only(tmp_path, model, records, phantoms):
    settings = IndexSettings(dimensions=14 * 8, seed=7, batch_size=4)
    build(tmp_path / "all", model, records, phantoms, settings)
    build(tmp_path / "some", model, records, phantoms, replace(settings, axes_from=4))
    every, some = (AttributionIndex(tmp_path / name) for name in ("all", "some"))
    assert len(every) == len(some)
    assert every.tracks[0].axes.shapes == some.tracks[0].axes.shapes
    assert (every.tracks[0].rows() != some.tracks[0].rows()).any()
