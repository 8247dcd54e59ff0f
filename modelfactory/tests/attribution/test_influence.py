from __future__ import annotations

import numpy as np

from modelfactory.attribution.influence import damped_inverse, make_curvature, score

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(60, 12))
SLICES = (slice(0, 5), slice(5, 12))


def test_the_inverse_is_damped_relative_to_the_mean_eigenvalue():
    moments = np.diag([4.0, 2.0, 0.0])
    assert np.allclose(np.diag(damped_inverse(moments, 0.1)), [1 / 4.2, 1 / 2.2, 1 / 0.2])


def test_scaling_all_gradients_of_a_module_changes_no_score():
    scaled, query = ROWS * np.repeat([3.0, 0.2], [5, 7]), RANDOM.normal(size=12)
    folded = make_curvature("efim", [ROWS], SLICES, 0.1)
    refolded = make_curvature("efim", [scaled], SLICES, 0.1)
    rescored = score(query * np.repeat([3.0, 0.2], [5, 7]), scaled, refolded)
    assert np.allclose(score(query, ROWS, folded), rescored)


def test_the_identity_gives_plain_cosines():
    query = RANDOM.normal(size=12)
    expected = ROWS @ query / np.linalg.norm(ROWS, axis=1) / np.linalg.norm(query)
    assert np.allclose(
        score(query, ROWS, make_curvature("identity", [ROWS], SLICES, 0.1)), expected
    )


def test_curvature_turns_down_a_direction_that_all_rows_share():
    shared = np.array([8.0, *([0.0] * 11)])
    rows = 0.5 * ROWS + shared
    query = rows[7] + shared
    plain, curved = (
        score(query, rows, make_curvature(kind, [rows], SLICES, 0.1))
        for kind in ("identity", "efim")
    )
    assert curved.argmax() == 7
    assert np.abs(np.delete(curved, 7)).mean() < 0.5 * np.abs(np.delete(plain, 7)).mean()


def test_a_row_scores_one_on_itself():
    curvature = make_curvature("efim", [ROWS], SLICES, 0.1)
    assert np.isclose(score(ROWS[3], ROWS, curvature)[3], 1.0)
