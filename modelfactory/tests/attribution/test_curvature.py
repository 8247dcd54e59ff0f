"""Each choice of curvature against a dense computation that spares nothing, on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelfactory.attribution.curvature import (
    CHOICES,
    Factors,
    adam_scale,
    damper,
    make_fold,
    unit_norm,
)
from modelfactory.attribution.factors import kronecker_factors
from modelfactory.attribution.gradients import lora_modules, record_gradients, response_losses
from modelfactory.tests.attribution.conftest import example

EXAMPLES = [example(at, 4 + at % 3, 2 + at % 2) for at in range(8)]
QUERIES = [example(100 + at) for at in range(3)]
DAMPING = 0.1


@pytest.fixture(scope="module")
def block(model):
    """Rows, queries and factors of one matrix A, and its shape."""
    module = lora_modules(model)[0]
    size = module.down.weight.numel()
    rows, queries = (
        record_gradients(model, asked).modules[module.name][:, :size].double().numpy()
        for asked in (EXAMPLES, QUERIES)
    )
    factors = kronecker_factors(model, EXAMPLES, batch_size=3)[module.name, "A"]
    rank, width = module.down.weight.shape
    return rows, queries, factors, (rank, width)


def dense(choice: str, rows: np.ndarray, factors: Factors) -> np.ndarray:
    """``P`` written out [d, d]."""
    size, dampening = rows.shape[1], damper(rows, DAMPING)
    one = np.eye(size)
    if choice == "graddot":
        return one
    if choice == "datainf":
        return np.mean([np.linalg.inv(np.outer(g, g) + dampening * one) for g in rows], axis=0)
    if choice == "fisher":
        return np.linalg.inv(rows.T @ rows / len(rows) + dampening * one)
    basis = np.kron(np.linalg.eigh(factors.slopes)[1], np.linalg.eigh(factors.inputs)[1])
    moments = ((rows @ basis) ** 2).mean(axis=0)
    return np.linalg.inv(basis @ np.diag(moments) @ basis.T + dampening * one)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_folded_query_scores_as_the_dense_matrix_does(block, choice):
    rows, queries, factors, _ = block
    expected = queries @ dense(choice, rows, factors) @ rows.T
    found = make_fold(choice, rows, DAMPING, factors)(queries) @ rows.T
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("choice", CHOICES)
def test_the_unit_norm_is_one_of_a_row_on_itself(block, choice):
    rows, _, factors, _ = block
    dots = make_fold(choice, rows, DAMPING, factors)(rows) @ rows.T
    cosines = unit_norm(dots, np.diag(dots), np.diag(dots))
    assert np.allclose(np.diag(cosines), 1, atol=1e-9)
    assert np.abs(cosines).max() <= 1 + 1e-9


def test_the_damper_is_relative_to_the_mean_eigenvalue(block):
    rows = block[0]
    mean = np.linalg.eigvalsh(rows.T @ rows / len(rows)).mean()
    assert damper(rows, 0.3) == pytest.approx(0.3 * mean)
    assert damper(rows * 0, 0.3) == 1


def test_the_factors_are_those_of_a_loop_over_single_records(model, block):
    """One record at a time has no padding, so every token counts."""
    module = lora_modules(model)[0]
    inputs, slopes = 0, 0
    for one in EXAMPLES:
        seen = {}

        def keep(layer, given, output, seen=seen):
            seen["x"], seen["y"] = given[0], output.detach().requires_grad_()
            return seen["y"]

        handle = module.down.register_forward_hook(keep)
        model.eval()
        try:
            (slope,) = torch.autograd.grad(response_losses(model, [one])[0].sum(), [seen["y"]])
        finally:
            handle.remove()
        x, delta = seen["x"][0].double().detach().numpy(), slope[0].double().numpy()
        inputs, slopes = inputs + x.T @ x, slopes + delta.T @ delta
    factors = block[2]
    assert np.allclose(factors.inputs, inputs, rtol=1e-5, atol=1e-5 * np.abs(inputs).max())
    assert np.allclose(factors.slopes, slopes, rtol=1e-5, atol=1e-5 * np.abs(slopes).max())


def test_adam_turns_a_gradient_into_the_step_that_torch_makes(block):
    """After a first step of ``g`` Adam's bias-corrected moments are ``g`` and ``g²``."""
    row = block[0][0]
    weight = torch.nn.Parameter(torch.zeros(len(row), dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=1.0, eps=1e-8)
    weight.grad = torch.tensor(row)
    optimizer.step()
    moments = optimizer.state[weight]["exp_avg_sq"].numpy() / (1 - 0.999)
    assert np.allclose(-weight.detach().numpy(), adam_scale(moments) * row, rtol=1e-5)


def test_ekfac_without_factors_is_refused(block):
    with pytest.raises(ValueError, match="Kronecker factors"):
        make_fold("ekfac", block[0], DAMPING)
