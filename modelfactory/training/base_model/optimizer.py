"""Muon for matrices, Adam for the rest, on fp32 master weights of a bf16 model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class MasterOptimizer:
    """Keeps fp32 copies of bf16 parameters and steps those.

    Matrices inside the layers take Muon steps (Jordan et al. 2024: momentum, orthogonalised by five
    Newton-Schulz iterations); embeddings and norms take Adam steps. One matrix update has spectral
    norm about
    `matrix_rate * sqrt(max(1, rows / columns))`.
    """

    def __init__(self, matrices: Iterable[Tensor], others: Iterable[Tensor]) -> None:
        self.matrices = [
            (live, live.detach().float().clone(), torch.zeros_like(live, dtype=torch.float32))
            for live in matrices
        ]
        self.others = list(others)
        self.other_masters = [live.detach().float().clone() for live in self.others]
        self.adam = torch.optim.Adam(self.other_masters, betas=(0.9, 0.98), eps=1e-10)

    @torch.no_grad()
    def step(self, matrix_rate: float, other_rate: float, momentum: float = 0.95) -> None:
        """Apply the gradients that lie on the live parameters, then clear them."""
        for live, master, velocity in self.matrices:
            gradient = _gradient(live)
            velocity.lerp_(gradient, 1 - momentum)
            update = orthogonalised(gradient.lerp(velocity, momentum), live.dtype)
            scale = max(1.0, master.size(0) / master.size(1)) ** 0.5
            master.mul_(1 - matrix_rate * 0.05).add_(update, alpha=-matrix_rate * scale)
            live.copy_(master)
        for group in self.adam.param_groups:
            group["lr"] = other_rate
        for live, master in zip(self.others, self.other_masters, strict=True):
            master.grad = _gradient(live)
        self.adam.step()
        for live, master in zip(self.others, self.other_masters, strict=True):
            live.copy_(master)


def orthogonalised(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly, multiplied in `dtype`: that of the model.

    Singular values of the result lie near 1.
    """
    tall = matrix.size(0) > matrix.size(1)
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    nearest: Tensor = (x.T if tall else x).float()
    return nearest


def _gradient(live: Tensor) -> Tensor:
    gradient = live.grad
    live.grad = None
    return torch.zeros_like(live, dtype=torch.float32) if gradient is None else gradient.float()
