"""TracIn, DataInf, EK-FAC, LoGra and TRAK as dattri implements them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from common import (  # type: ignore[import-not-found]
    DAMPINGS,
    Answer,
    AnswerLoss,
    Clock,
    Exchange,
    Sequences,
    answer,
    read_exchange,
)
from dattri.algorithm import (  # type: ignore[import-not-found]
    IFAttributorDataInf,
    IFAttributorEKFAC,
    LoGraAttributor,
    TracInAttributor,
    TRAKAttributor,
)
from dattri.func.projection import random_project  # type: ignore[import-not-found]
from dattri.task import AttributionTask  # type: ignore[import-not-found]
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

PACKAGE = "dattri"
GRADIENT_BATCH = 16
QUERY_BATCH = 10
"""DataInf holds a gradient for each pair of a test and a train example: few, to stay in cache."""

UNPROJECTED: dict[str, Any] = {
    "proj_dim": 1,
    "proj_max_batch_size": 32,
    "proj_seed": 0,
    "proj_type": "identity",
    "device": "cpu",
}
"""Rows are projected once, by dattri, before they are handed over: not once for every batch."""


class StoredDataInf(IFAttributorDataInf):  # type: ignore[misc]
    """DataInf over gradients that are already there: batches carry row numbers."""

    train_rows: Tensor
    test_rows: Tensor

    def generate_train_rep(self, ckpt_idx: int, data: tuple[Tensor, ...]) -> Tensor:
        return self.train_rows[data[0][0]]

    def generate_test_rep(self, ckpt_idx: int, data: tuple[Tensor, ...]) -> Tensor:
        return self.test_rows[data[0][0]]


class StoredEkfac(IFAttributorEKFAC):  # type: ignore[misc]
    """EK-FAC over gradients that are already there: batches carry row numbers."""

    train_rows: Tensor
    test_rows: Tensor

    def generate_train_rep(self, ckpt_idx: int, data: tuple[Tensor, ...]) -> Tensor:
        return self.train_rows[data[0][0]]

    def generate_test_rep(self, ckpt_idx: int, data: tuple[Tensor, ...]) -> Tensor:
        return self.test_rows[data[0][0]]


class TokenRows(nn.Module):
    """A linear layer that sees the real tokens of a batch as plain rows.

    dattri 0.3.0 estimates EK-FAC factors from two-dimensional activations alone: given sequences
    it fails on a name that it sets only for two dimensions.
    """

    def __init__(self, linear: nn.Linear, owner: TokenView) -> None:
        super().__init__()
        self.linear = linear
        self._owner = [owner]

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.linear.weight
        return weight

    def forward(self, values: Tensor) -> Tensor:
        real = self._owner[0].real
        rows: Tensor = self.linear(values[real])
        spread = rows.new_zeros((*values.shape[:-1], rows.shape[-1]))
        return spread.index_put((real,), rows)


class TokenView:
    """Which tokens of the batch in hand are real."""

    def __init__(self, real: Tensor) -> None:
        self.real = real


def numbers(count: int, batch: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(count)), batch_size=batch, shuffle=False)


def rows_of(task: Any, sequences: Sequences) -> Tensor:
    """One LoRA gradient a row, through dattri's own per-example gradient."""
    parameters, _ = task.get_param(ckpt_idx=0)
    gradient = task.get_grad_loss_func(in_dims=(None, 0))
    rows = []
    for start in range(0, len(sequences), GRADIENT_BATCH):
        part = slice(start, start + GRADIENT_BATCH)
        longest = int(sequences.mask[part].sum(dim=1).max())
        data = (sequences.ids[part, :longest], sequences.labels[part, :longest])
        rows.append(gradient(parameters, data).detach())
    return torch.cat(rows)


def answer_task(net: AnswerLoss, of_loss: Callable[[Tensor], Tensor]) -> Any:
    def measured(params: dict[str, Tensor], data: tuple[Tensor, Tensor]) -> Tensor:
        ids, labels = data
        pair = (ids.reshape(1, -1), labels.reshape(1, -1))
        return of_loss(torch.func.functional_call(net, params, pair).losses[0])

    return AttributionTask(loss_func=measured, model=net, checkpoints=net.state_dict())


class Dattri:
    """The five methods over gradients that are taken once."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.net = AnswerLoss(exchange)
        self.task = answer_task(self.net, lambda loss: loss)
        clock = Clock()
        self.train_rows = rows_of(self.task, exchange.examples)
        self.index_seconds = clock.read()
        self.test_rows = rows_of(self.task, exchange.questions)
        self.query_seconds = clock.read()
        self.size = self.train_rows.shape[1]
        print(f"{len(self.train_rows)} gradients of {self.size} numbers", flush=True)

    def by_record(self, scores: Tensor) -> npt.NDArray[np.float64]:
        """[questions, records] from dattri's [examples, questions]."""
        summed: npt.NDArray[np.float64] = self.exchange.by_record(scores.detach().numpy().T)
        return summed

    def project(self, rows: Tensor) -> Tensor:
        kwargs: dict[str, Any] = {
            "proj_dim": self.exchange.budget,
            "proj_max_batch_size": 32,
            "proj_seed": 0,
            "proj_type": "rademacher",
            "device": "cpu",
        }
        projected: Tensor = random_project(rows, len(rows), **kwargs)(rows, ensemble_id=0)
        return projected.detach()

    def tracin(self) -> Answer:
        clock = Clock()
        train = self.project(self.train_rows)
        index = clock.read()
        test = self.project(self.test_rows)
        settings = {}
        for size, pair in (
            (self.exchange.budget, (train, test)),
            (self.size, (self.train_rows, self.test_rows)),
        ):
            for kind, normalized in (("dot", False), ("cosine", True)):
                attributor = TracInAttributor(
                    self.task, torch.ones(1), normalized, projector_kwargs=dict(UNPROJECTED)
                )
                attributor.grad_loss_func = lambda _, data, rows=pair[0]: rows[data[0]]
                attributor.grad_target_func = lambda _, data, rows=pair[1]: rows[data[0]]
                scores = attributor.attribute(
                    numbers(len(train), len(train)), numbers(len(test), len(test))
                )
                settings[f"{kind}, {4 * size} bytes"] = self.by_record(scores)
        return Answer(
            settings,
            self.index_seconds + index,
            self.query_seconds + clock.read(),
            self.exchange.budget * 4,
            "last checkpoint alone; query seconds cover all settings",
        )

    def datainf(self) -> Answer:
        clock = Clock()
        mean = float(self.train_rows.square().sum() / len(self.train_rows) / self.size)
        settings = {}
        for damping in DAMPINGS:
            attributor = StoredDataInf(self.task, regularization=damping * mean)
            attributor.train_rows, attributor.test_rows = self.train_rows, self.test_rows
            attributor.cache(numbers(len(self.train_rows), len(self.train_rows)))
            scores = attributor.attribute(
                numbers(len(self.train_rows), len(self.train_rows)),
                numbers(len(self.test_rows), QUERY_BATCH),
            )
            settings[f"damping {damping}, {4 * self.size} bytes"] = self.by_record(scores)
        return Answer(
            settings,
            self.index_seconds,
            self.query_seconds + clock.read(),
            self.size * 4,
            "full gradients; damping over the mean eigenvalue of the empirical Fisher matrix of "
            "all layers, as dattri takes one number; query seconds cover all settings",
        )

    def ekfac(self) -> Answer:
        clock = Clock()
        # In double precision: the decomposition does not converge on single-precision factors.
        net = AnswerLoss(self.exchange).double()
        examples = self.exchange.examples
        view = TokenView(examples.mask)
        names = net.lora_modules()
        for name in names:
            parent, _, child = name.rpartition(".")
            setattr(net.get_submodule(parent), child, TokenRows(net.get_submodule(name), view))

        def summed(params: dict[str, Tensor], data: tuple[Tensor, Tensor]) -> Tensor:
            ids, labels = data
            loss: Tensor = torch.func.functional_call(net, params, (ids[0], labels[0])).loss
            return loss

        task = AttributionTask(loss_func=summed, model=net, checkpoints=net.state_dict())
        attributor = StoredEkfac(task, module_name=[f"{name}.linear" for name in names])
        attributor.train_rows = self.train_rows.double()
        attributor.test_rows = self.test_rows.double()
        # All tokens as one batch: its running mean over several weighs rows of tokens by examples.
        attributor.cache(DataLoader(TensorDataset(examples.ids[None], examples.labels[None])))
        attributor.layer_cache.clear()
        mean = float(
            torch.cat([each.flatten() for each in attributor.cached_lambdas.values()]).mean()
        )
        index = clock.read()
        settings = {}
        for damping in DAMPINGS:
            attributor.damping = damping * mean
            scores = attributor.attribute(
                numbers(len(self.train_rows), len(self.train_rows)),
                numbers(len(self.test_rows), len(self.test_rows)),
            )
            settings[f"damping {damping}, {4 * self.size} bytes"] = self.by_record(scores)
        return Answer(
            settings,
            self.index_seconds + index,
            self.query_seconds + clock.read(),
            self.size * 4,
            "full gradients; each token is a sample of the factors, as dattri 0.3.0 fails on "
            "sequences; damping over the mean corrected eigenvalue of all layers; query seconds "
            "cover all settings",
        )

    def logra(self) -> Answer:
        index = query = 0.0
        net = AnswerLoss(self.exchange)
        layers = net.lora_modules()
        fitting = int((self.exchange.budget // len(layers)) ** 0.5)
        settings = {}
        loaders: list[DataLoader[Any]] = [
            DataLoader(
                [
                    {"ids": ids, "labels": labels}
                    for ids, labels in zip(each.ids, each.labels, strict=True)
                ],  # type: ignore[arg-type]
                batch_size=GRADIENT_BATCH,
            )
            for each in (self.exchange.examples, self.exchange.questions)
        ]

        def summed(model: nn.Module, batch: dict[str, Tensor], _: str) -> Tensor:
            loss: Tensor = model(**batch).loss
            return loss

        task = AttributionTask(loss_func=summed, model=net, checkpoints=net.state_dict())
        for side in (fitting, 8, 16):
            size = side * side * len(layers)
            with tempfile.TemporaryDirectory() as folder:
                torch.manual_seed(0)
                clock = Clock()
                attributor = LoGraAttributor(
                    task,
                    layer_names=layers,
                    damping=DAMPINGS[0],
                    proj_dim=side * side,
                    cache_dir=folder,
                )
                attributor.cache(loaders[0])
                index += clock.read() if side == fitting else 0.0
                for damping in DAMPINGS:
                    attributor.compute_preconditioners(damping)
                    attributor.compute_ifvp()
                    scores = attributor.attribute(*loaders)
                    settings[f"damping {damping}, {4 * size} bytes"] = self.by_record(scores)
                query += clock.read() if side == fitting else 0.0
        return Answer(
            settings,
            index,
            query,
            4 * fitting * fitting * len(layers),
            "damping over the mean eigenvalue of each layer, as dattri does; seconds are those of "
            "the smallest size, all dampings of it in the query seconds",
        )

    def trak(self) -> Answer:
        clock = Clock()
        task = answer_task(self.net, lambda loss: -loss - torch.log(-torch.expm1(-loss)))
        examples = self.exchange.examples
        train = self.project(rows_of(task, examples))
        with torch.no_grad():
            losses = [
                self.net(examples.ids[start : start + 32], examples.labels[start : start + 32])
                for start in range(0, len(examples), 32)
            ]
        likely = torch.exp(-torch.cat([each.losses for each in losses]))
        index = clock.read()
        test = self.project(rows_of(task, self.exchange.questions))
        settings = {}
        for damping in DAMPINGS:
            attributor = TRAKAttributor(
                task,
                lambda _, data: likely.index_select(0, data[0].reshape(1)),
                projector_kwargs=dict(UNPROJECTED),
            )
            attributor.grad_loss_func = lambda _, data: train[data[0]]
            attributor.grad_target_func = lambda _, data: test[data[0]]
            mean = float(train.square().sum()) / attributor.norm_scaler**2 / train.shape[1]
            attributor.regularization = damping * mean
            attributor.cache(numbers(len(train), len(train)))
            scores = attributor.attribute(numbers(len(test), len(test)))
            settings[f"damping {damping}, {4 * train.shape[1]} bytes"] = self.by_record(scores)
        return Answer(
            settings,
            index,
            clock.read(),
            4 * train.shape[1],
            "one checkpoint; margin of the mean response token; damping over the mean eigenvalue "
            "of the kernel; query seconds cover all settings",
        )


def main() -> None:
    torch.manual_seed(0)
    exchange = read_exchange()
    shared: list[Dattri] = []

    def ready() -> Dattri:
        if not shared:
            shared.append(Dattri(exchange))
        return shared[0]

    answer(exchange, "dattri_tracin", PACKAGE, lambda: ready().tracin())
    answer(exchange, "dattri_ekfac", PACKAGE, lambda: ready().ekfac())
    answer(exchange, "dattri_logra", PACKAGE, lambda: ready().logra())
    answer(exchange, "dattri_trak", PACKAGE, lambda: ready().trak())
    answer(exchange, "dattri_datainf", PACKAGE, lambda: ready().datainf())


if __name__ == "__main__":
    main()
