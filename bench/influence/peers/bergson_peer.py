"""Stored projected gradients, TrackStar and EK-FAC, as bergson implements them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from bergson import (  # type: ignore[import-not-found]
    Attributor,
    DataConfig,
    IndexConfig,
    PreprocessConfig,
)
from bergson.cli.commands import (  # type: ignore[import-not-found]
    Build,
    Hessian,
    Mix,
    Score,
)
from bergson.config.config import (  # type: ignore[import-not-found]
    HessianConfig,
    InversionConfig,
    ScoreConfig,
)
from bergson.data import (  # type: ignore[import-not-found]
    column_offsets,
    load_gradients,
    load_scores,
)
from common import (  # type: ignore[import-not-found]
    DAMPINGS,
    Answer,
    Clock,
    Exchange,
    Sequences,
    answer,
    read_exchange,
)

PACKAGE = "bergson"
TOKENS = 1024
"""Tokens of one batch, padding included."""

NATURAL_SIDE = 16
"""The package's own default for TrackStar: 16 x 16 numbers for every matrix."""

MIXED_SHARE = 1000 / 65536
"""Of the gradient's components, how many the query's Hessian plays down: the paper's share."""

LOSSES = (
    "mean cross-entropy of the response for an example, its sum for a question; lora_A and lora_B "
    "of every layer; "
)
STORED = (
    "an example's gradient is stored once; query seconds cover the questions' gradients and every "
    "setting; damping over the mean eigenvalue of the Hessian"
)


@dataclass(frozen=True)
class Workshop:
    """A folder with the exchange as bergson reads it: two data sets and an adapter."""

    exchange: Exchange
    folder: Path

    def prepare(self) -> None:
        save_dataset(self.exchange.examples, self.folder / "examples")
        save_dataset(self.exchange.questions, self.folder / "questions")
        self._copy_adapter()

    def _copy_adapter(self) -> None:
        """Bergson finds the base by the adapter's own word, which may be a name without folder."""
        place = self.folder / "adapter"
        shutil.copytree(self.exchange.spec["adapter"], place)
        path = place / "adapter_config.json"
        about = json.loads(path.read_text(encoding="utf-8"))
        about["base_model_name_or_path"] = self.exchange.spec["base"]
        path.write_text(json.dumps(about), encoding="utf-8")

    def config(self, name: str, data: str, loss: str, projection: dict[str, Any]) -> Any:
        return IndexConfig(
            run_path=str(self.folder / name),
            overwrite=True,
            model=str(self.folder / "adapter"),
            tokenizer=self.exchange.spec["base"],
            data=DataConfig(dataset=str(self.folder / data)),
            model_kwargs="attn_implementation=eager",
            precision="fp32",
            force_math_sdp=True,
            token_batch_size=TOKENS,
            loss_reduction=loss,
            **projection,
        )

    def build(self, name: str, data: str, loss: str, projection: dict[str, Any]) -> Path:
        Build(self.config(name, data, loss, projection), PreprocessConfig()).execute()
        return self.folder / name

    def hessian(self, name: str, data: str, projection: dict[str, Any], **kind: Any) -> Path:
        torch.manual_seed(0)
        Hessian(HessianConfig(**kind), self.config(name, data, "mean", projection)).execute()
        return self.folder / name

    def mixed(self, queries: Path, examples: Path, size: int) -> Path:
        """The Hessian that plays down what all questions have in common."""
        place = self.folder / f"{examples.name}-mixed"
        Mix(
            query_path=str(queries),
            index_path=str(examples),
            output_path=str(place),
            target_downweight_components=max(1, round(MIXED_SHARE * size)),
        ).execute()
        return place

    def search(self, index: Path, queries: Path, **more: Any) -> npt.NDArray[np.float64]:
        """Scores of stored gradients for stored questions, by record."""
        sizes = json.loads((queries / "info.json").read_text(encoding="utf-8"))["grad_sizes"]
        flat = torch.from_numpy(np.array(load_gradients(queries)))
        asked = {name: flat[:, low:high] for name, (low, high) in column_offsets(sizes).items()}
        found = Attributor(index, **more).search(asked, k=None)
        scores = torch.empty_like(found.values).scatter_(1, found.indices, found.values)
        by_record: npt.NDArray[np.float64] = self.exchange.by_record(scores.numpy())
        return by_record


def save_dataset(sequences: Sequences, place: Path) -> None:
    """Tokens and labels without padding."""
    from datasets import Dataset

    lengths = sequences.mask.sum(dim=1).tolist()
    columns = {
        "input_ids": [ids[:end].tolist() for ids, end in zip(sequences.ids, lengths, strict=True)],
        "labels": [row[:end].tolist() for row, end in zip(sequences.labels, lengths, strict=True)],
        "length": lengths,
    }
    Dataset.from_dict(columns).save_to_disk(str(place))


def inversion(damping: float) -> Any:
    return InversionConfig(inversion="damped_inverse", damping_factor=damping)


def over_all(exchange: Exchange) -> dict[str, Any]:
    """One vector for all layers, of as many numbers as the budget allows."""
    return {
        "projection_dim": exchange.budget,
        "projection_target": "global",
        "projection_seed": 0,
    }


def by_matrix(side: int) -> dict[str, Any]:
    return {"projection_dim": side, "projection_target": "per_module", "projection_seed": 0}


def influence(shop: Workshop) -> Answer:
    """Projected gradients, with the examples' own Gram matrix as the Hessian and without one."""
    projection = over_all(shop.exchange)
    clock = Clock()
    index = shop.build("index", "examples", "mean", projection)
    hessian = shop.hessian(
        "gram", "examples", projection, method="autocorrelation", use_dataset_labels=True
    )
    index_seconds = clock.read()
    queries = shop.build("queries", "questions", "sum", projection)
    settings = {"dot": shop.search(index, queries)}
    settings["cosine"] = shop.search(index, queries, unit_norm=True)
    for damping in DAMPINGS:
        settings[f"damping {damping}"] = shop.search(
            index, queries, hessian_path=hessian, inversion_cfg=inversion(damping)
        )
    return Answer(settings, index_seconds, clock.read(), stored_bytes(index), LOSSES + STORED)


def stored_bytes(index: Path) -> int:
    gradients = load_gradients(index)
    return int(gradients.shape[1] * gradients.dtype.itemsize)


def trackstar(shop: Workshop, projection: dict[str, Any], label: str) -> Answer:
    """Both sides by the root of the mixed Hessian, then unit length."""
    clock = Clock()
    kind: dict[str, Any] = {"method": "autocorrelation", "use_dataset_labels": True}
    index = shop.build(f"{label}-index", "examples", "mean", projection)
    of_examples = shop.hessian(f"{label}-examples", "examples", projection, **kind)
    index_seconds = clock.read()
    queries = shop.build(f"{label}-queries", "questions", "sum", projection)
    of_questions = shop.hessian(f"{label}-questions", "questions", projection, **kind)
    size = stored_bytes(index)
    mixed = shop.mixed(of_questions, of_examples, size // 4)
    settings = {}
    for name, hessian in (("mixed", mixed), ("examples' Hessian", of_examples)):
        for damping in DAMPINGS:
            settings[f"{name}, damping {damping}, {size} bytes"] = shop.search(
                index,
                queries,
                hessian_path=hessian,
                inversion_cfg=inversion(damping),
                unit_norm=True,
            )
    return Answer(settings, index_seconds, clock.read(), size, LOSSES + STORED)


def ekfac(shop: Workshop) -> Answer:
    """Full gradients, taken anew for every pass: nothing is stored of an example."""
    clock = Clock()
    hessian = shop.hessian("ekfac", "examples", {}, method="kfac", ev_correction=True)
    index_seconds = clock.read()
    queries = shop.build("ekfac-queries", "questions", "sum", {})
    settings = {}
    for damping in DAMPINGS:
        config = shop.config(f"ekfac-scores-{damping}", "examples", "mean", {})
        preprocess = PreprocessConfig(
            hessian_path=str(hessian), ev_correction=True, inversion_cfg=inversion(damping)
        )
        Score(ScoreConfig(query_path=str(queries)), config, preprocess).execute()
        found = load_scores(Path(config.run_path))
        settings[f"damping {damping}"] = shop.exchange.by_record(np.asarray(found[:]).T)
        shutil.rmtree(config.run_path)
    note = LOSSES + "query seconds cover one pass over the examples for every damping"
    return Answer(settings, index_seconds, clock.read(), 0, note)


def main() -> None:
    exchange = read_exchange()
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(exchange, Path(folder))
        shop.prepare()
        methods: dict[str, Callable[[], Answer]] = {
            "bergson": lambda: influence(shop),
            "bergson_trackstar": lambda: trackstar(shop, over_all(exchange), "small"),
            "bergson_ekfac": lambda: ekfac(shop),
            "bergson_trackstar_natural": lambda: trackstar(shop, by_matrix(NATURAL_SIDE), "full"),
        }
        for method, run in methods.items():
            answer(exchange, method, PACKAGE, run)


if __name__ == "__main__":
    main()
