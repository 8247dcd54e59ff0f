"""Influence with EK-FAC, and with no curvature at all, as kronfluence implements them."""

from __future__ import annotations

import tempfile
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
from kronfluence.analyzer import Analyzer, prepare_model  # type: ignore[import-not-found]
from kronfluence.arguments import (  # type: ignore[import-not-found]
    FactorArguments,
    ScoreArguments,
)
from kronfluence.factor import config as factor_config  # type: ignore[import-not-found]
from kronfluence.task import Task  # type: ignore[import-not-found]
from torch import Tensor, nn

PACKAGE = "kronfluence"
BATCH = 32
NOTE = (
    "mean cross-entropy of the response for an example, its sum for a question; full gradients of "
    "lora_A and lora_B in every layer; nothing is stored of an example: every pass of questions "
    "takes the examples' gradients anew, and query seconds cover one pass per setting"
)

Batch = dict[str, Tensor]


class ResponseTask(Task):  # type: ignore[misc]
    """The losses that kronfluence asks for, on the response tokens alone."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules

    def get_influence_tracked_modules(self) -> list[str]:
        return self.modules

    def get_attention_mask(self, batch: Batch) -> Tensor:
        """Keeps padding out of the activations' covariance."""
        mask: Tensor = batch["mask"]
        return mask

    def compute_train_loss(self, batch: Batch, model: nn.Module, sample: bool = False) -> Tensor:
        """The sum of the examples' means; ``sample`` draws labels, for the true Fisher matrix."""
        said = model(batch["ids"], batch["labels"])
        if not sample:
            loss: Tensor = said.loss
            return loss
        with torch.no_grad():
            chances = torch.softmax(said.logits[:, :-1], dim=-1)
            drawn = torch.multinomial(chances.flatten(0, 1), 1).reshape(chances.shape[:2])
        labels = batch["labels"][:, 1:]
        wanted = torch.where(labels == IGNORED, labels, drawn)
        drawn_loss: Tensor = (token_losses(said.logits, wanted).sum(dim=1) / counted(wanted)).sum()
        return drawn_loss

    def compute_measurement(self, batch: Batch, model: nn.Module) -> Tensor:
        said = model(batch["ids"], batch["labels"])
        summed: Tensor = (said.losses * counted(batch["labels"][:, 1:])).sum()
        return summed


def counted(labels: Tensor) -> Tensor:
    real: Tensor = labels != IGNORED
    return real.sum(dim=1)


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    losses: Tensor = nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    return losses


def rows(sequences: Sequences) -> list[Batch]:
    return [
        {"ids": ids, "labels": labels, "mask": mask.long()}
        for ids, labels, mask in zip(sequences.ids, sequences.labels, sequences.mask, strict=True)
    ]


class Kronfluence:
    """One analysis: a strategy's factors, then its scores at any damping."""

    def __init__(self, exchange: Exchange, strategy: str, folder: str) -> None:
        torch.manual_seed(0)
        net = AnswerLoss(exchange)
        task = ResponseTask(net.lora_modules())
        self.exchange = exchange
        self.strategy = strategy
        self.examples, self.questions = rows(exchange.examples), rows(exchange.questions)
        self.analyzer: Any = Analyzer(
            analysis_name="peer",
            model=prepare_model(net, task),
            task=task,
            cpu=True,
            disable_tqdm=True,
            output_dir=folder,
        )

    def fit(self) -> None:
        self.analyzer.fit_all_factors(
            factors_name=self.strategy,
            dataset=self.examples,
            per_device_batch_size=BATCH,
            factor_args=FactorArguments(strategy=self.strategy),
        )

    def scores(self, damping: float) -> npt.NDArray[np.float64]:
        """The package damps with a share of each module's mean eigenvalue where it is given none.

        That share is a constant of the package, 0.1, which is set here so that it can be swept.
        """
        factor_config.HEURISTIC_DAMPING_SCALE = damping
        name = f"{self.strategy}-{damping}"
        self.analyzer.compute_pairwise_scores(
            scores_name=name,
            factors_name=self.strategy,
            query_dataset=self.questions,
            train_dataset=self.examples,
            per_device_query_batch_size=len(self.questions),
            per_device_train_batch_size=BATCH,
            score_args=ScoreArguments(damping_factor=None),
        )
        found = self.analyzer.load_pairwise_scores(name)["all_modules"]
        scores: npt.NDArray[np.float64] = self.exchange.by_record(found.numpy())
        return scores


def run(exchange: Exchange, strategy: str) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        analysis = Kronfluence(exchange, strategy, folder)
        clock = Clock()
        analysis.fit()
        index = clock.read()
        if strategy == "identity":
            settings = {"no curvature": analysis.scores(0.0)}
        else:
            settings = {f"damping {damping}": analysis.scores(damping) for damping in DAMPINGS}
        return Answer(settings, index, clock.read(), 0, NOTE)


def main() -> None:
    exchange = read_exchange()
    answer(exchange, "kronfluence_identity", PACKAGE, lambda: run(exchange, "identity"))
    answer(exchange, "kronfluence_ekfac", PACKAGE, lambda: run(exchange, "ekfac"))


if __name__ == "__main__":
    main()
