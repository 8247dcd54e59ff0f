"""TRAK as its authors' package implements it, on the matrices of the adapter."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from common import (  # type: ignore[import-not-found]
    DAMPINGS,
    IGNORED,
    Answer,
    AnswerLoss,
    Clock,
    Exchange,
    Sequences,
    answer,
    read_exchange,
)
from torch import Tensor, nn
from trak import TRAKer  # type: ignore[import-not-found]
from trak.modelout_functions import AbstractModelOutput  # type: ignore[import-not-found]

BATCH = 64
"""On a processor the projection is drawn anew for every batch: few large ones are best."""

FEWER = 256
"""Fewer numbers than examples: the undamped inverse that the paper uses exists only then."""

NOTE = (
    "one checkpoint (the paper averages many); output function: log-odds of each response token, "
    "their mean for an example and their sum for a question; damping over the mean eigenvalue of "
    "the kernel; index seconds are those of the budgeted size; query seconds cover its settings"
)

Batch = tuple[Tensor, Tensor, Tensor]


class ResponseMargin(AbstractModelOutput):  # type: ignore[misc]
    """Log-odds of the response's tokens, weighed as the batch says."""

    def __init__(self) -> None:
        super().__init__()

    @staticmethod
    def get_output(
        model: nn.Module,
        weights: dict[str, Tensor],
        buffers: dict[str, Tensor],
        ids: Tensor,
        labels: Tensor,
        weight: Tensor,
    ) -> Tensor:
        pair = (ids[None], labels[None])
        logits = torch.func.functional_call(model, (weights, buffers), pair).logits[0, :-1]
        targets = labels[1:]
        index = targets.clamp(min=0)[:, None]
        right = logits.gather(1, index)[:, 0]
        others = logits.scatter(1, index, float("-inf")).logsumexp(dim=1)
        margin: Tensor = ((right - others) * (targets != IGNORED)).sum() * weight
        return margin

    def get_out_to_loss_grad(
        self,
        model: nn.Module,
        weights: dict[str, Tensor],
        buffers: dict[str, Tensor],
        batch: Batch,
    ) -> Tensor:
        """One minus the mean chance of the response's tokens."""
        ids, labels, _ = batch
        with torch.no_grad():
            logits = torch.func.functional_call(model, (weights, buffers), (ids, labels)).logits
        targets = labels[:, 1:]
        chances = logits[:, :-1].softmax(dim=-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
        counted = targets != IGNORED
        mean: Tensor = (chances * counted).sum(dim=1) / counted.sum(dim=1)
        return (1 - mean)[:, None]


def freeze(net: AnswerLoss) -> AnswerLoss:
    """Frozen weights become buffers: the package takes a gradient of every parameter it sees."""
    for module in net.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not parameter.requires_grad:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach())
    return net


def batches(sequences: Sequences, *, mean: bool) -> Iterable[Batch]:
    for start in range(0, len(sequences), BATCH):
        part = slice(start, start + BATCH)
        longest = int(sequences.mask[part].sum(dim=1).max())
        labels = sequences.labels[part, :longest]
        counts = (labels[:, 1:] != IGNORED).sum(dim=1)
        weight = 1 / counts if mean else torch.ones(len(labels))
        yield sequences.ids[part, :longest], labels, weight


def featurized(exchange: Exchange, net: AnswerLoss, size: int, folder: str) -> Any:
    traker = TRAKer(
        model=net,
        task=ResponseMargin(),
        train_set_size=len(exchange.examples),
        save_dir=f"{folder}/{size}",
        device="cpu",
        proj_dim=size,
        use_half_precision=False,
        logging_level=logging.WARNING,
    )
    traker.load_checkpoint(net.state_dict(), model_id=0)
    for batch in batches(exchange.examples, mean=True):
        traker.featurize(batch=batch, num_samples=len(batch[0]))
    return traker


def swept(
    exchange: Exchange, net: AnswerLoss, traker: Any, dampings: Iterable[float]
) -> list[npt.NDArray[np.float64]]:
    """Scores at each damping: the questions' gradients are taken once."""
    stored = np.asarray(traker.saver.current_store["grads"], dtype=np.float64)
    mean = float((stored**2).sum()) / stored.shape[1]
    scores: list[npt.NDArray[np.float64]] = []
    for damping in dampings:
        traker.score_computer.lambda_reg = damping * mean
        traker.saver.model_ids[0]["is_finalized"] = 0
        if not traker.projector.proj_matrix_available:
            # Finalizing frees the projection, and fails where an earlier time has freed it.
            traker.projector.generate_sketch_matrix(traker.projector.generator_states[0])
        traker.finalize_features()
        if not scores:
            traker.start_scoring_checkpoint("asked", net.state_dict(), 0, len(exchange.questions))
            for batch in batches(exchange.questions, mean=False):
                traker.score(batch=batch, num_samples=len(batch[0]))
        found = np.array(traker.finalize_scores(exp_name="asked"))
        scores.append(exchange.by_record(found.T))
    return scores


def run(exchange: Exchange) -> Answer:
    torch.manual_seed(0)
    net = freeze(AnswerLoss(exchange))
    size = exchange.budget
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        traker = featurized(exchange, net, size, folder)
        index = clock.read()
        scores = swept(exchange, net, traker, DAMPINGS)
        query = clock.read()
        names = [f"damping {damping}, {4 * size} bytes" for damping in DAMPINGS]
        fewer = featurized(exchange, net, FEWER, folder)
        scores += swept(exchange, net, fewer, (0.0,))
        names.append(f"no damping, {4 * FEWER} bytes")
    return Answer(dict(zip(names, scores, strict=True)), index, query, 4 * size, NOTE)


def main() -> None:
    exchange = read_exchange()
    answer(exchange, "traker", "traker", lambda: run(exchange))


if __name__ == "__main__":
    main()
