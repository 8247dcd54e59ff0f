from __future__ import annotations

import numpy as np
import pytest

from modelfactory.attribution.sketch import (
    ModuleSketch,
    plan_sketch,
    quantise_rows,
    walsh_hadamard,
)

GRADIENTS = np.random.default_rng(0).normal(size=(40, 300)).astype(np.float32)


# Inside one block of the transform, exactly one, and over two axes of different length.
@pytest.mark.parametrize("width", [8, 32, 256])
def test_the_transform_is_the_hadamard_matrix(width):
    pair = np.array([[1, 1], [1, -1]], dtype=np.float32)
    matrix = np.ones((1, 1), dtype=np.float32)
    while len(matrix) < width:
        matrix = np.kron(matrix, pair)
    values = GRADIENTS[:, :width]
    assert np.allclose(walsh_hadamard(values), values @ matrix / np.sqrt(width), atol=1e-6)


def test_dot_products_are_kept_in_expectation_over_seeds():
    exact = GRADIENTS[:5] @ GRADIENTS[:5].T
    sketches = [ModuleSketch("q", 300, 64, seed).project(GRADIENTS[:5]) for seed in range(400)]
    mean = np.mean([values @ values.T for values in sketches], axis=0)
    assert np.abs(mean - exact).max() < 0.1 * np.diag(exact).min()


def test_more_dimensions_give_a_smaller_error():
    exact = GRADIENTS @ GRADIENTS.T
    few, many = (ModuleSketch("q", 300, size, 1).project(GRADIENTS) for size in (32, 256))
    assert np.abs(many @ many.T - exact).mean() < 0.5 * np.abs(few @ few.T - exact).mean()


def test_a_module_no_larger_than_its_dimensions_is_kept_exactly():
    sketch = plan_sketch({"small": 300}, dimensions=900, seed=1)
    assert np.array_equal(sketch.project({"small": GRADIENTS}), GRADIENTS)


def test_the_seed_and_the_module_name_decide_the_projection():
    def project(name: str, seed: int) -> np.ndarray:
        return ModuleSketch(name, 300, 64, seed).project(GRADIENTS[:1])

    assert np.array_equal(project("q", 1), project("q", 1))
    assert not np.array_equal(project("q", 1), project("q", 2))
    assert not np.array_equal(project("q", 1), project("v", 1))


def test_dimensions_that_small_modules_do_not_need_go_to_large_ones():
    sketch = plan_sketch({"large": 5000, "small": 10, "other": 5000}, dimensions=210, seed=1)
    assert {m.name: m.dimensions for m in sketch.modules} == {
        "large": 100,
        "other": 100,
        "small": 10,
    }
    assert sketch.dimensions == 210


def test_gradients_of_other_modules_are_refused():
    with pytest.raises(ValueError, match="modules"):
        plan_sketch({"q": 300}, dimensions=64, seed=1).project({"v": GRADIENTS})


def test_quantised_rows_are_within_half_a_step():
    rows, scales = quantise_rows(GRADIENTS)
    assert np.abs(rows * scales[:, None] - GRADIENTS).max() <= 0.5001 * scales.max()


def test_a_zero_row_stays_zero():
    rows, scales = quantise_rows(np.zeros((2, 4), dtype=np.float32))
    assert not rows.any()
    assert not scales.any()
