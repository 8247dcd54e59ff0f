"""What every peer script needs: reading an exchange folder, the model, the loss, the answer.

Imports nothing from the project, so that a peer runs in an environment holding its package alone.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

DAMPINGS = (0.01, 0.1, 1.0)
"""Swept by every method that damps; a share of the mean eigenvalue wherever the package can."""

IGNORED = -100
PAD = 0
"""Padding stands to the right and carries no label, so its token changes nothing."""


@dataclass(frozen=True)
class Sequences:
    """Token sequences padded to one length, with labels on the response alone."""

    ids: Tensor
    labels: Tensor
    mask: Tensor
    texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Exchange:
    """One exchange folder, read."""

    place: Path
    spec: dict[str, Any]
    examples: Sequences
    questions: Sequences
    record_of: npt.NDArray[np.int64]

    @property
    def budget(self) -> int:
        """How many numbers of four bytes a stored example may take."""
        return int(self.spec["bytes_per_record"]) // 4

    def by_record(self, scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """[questions, records] from [questions, examples]: a record is the sum of its examples."""
        summed = np.zeros((len(scores), int(self.spec["records"])), dtype=np.float64)
        np.add.at(summed.T, self.record_of, scores.astype(np.float64).T)
        return summed


def read_exchange() -> Exchange:
    """The folder named on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python {sys.argv[0]} EXCHANGE_FOLDER")
    place = Path(sys.argv[1])
    examples = _read_lines(place / "examples.jsonl")
    return Exchange(
        place=place,
        spec=json.loads((place / "spec.json").read_text(encoding="utf-8")),
        examples=_sequences(examples),
        questions=_sequences(_read_lines(place / "questions.jsonl")),
        record_of=np.array([row["record"] for row in examples], dtype=np.int64),
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _sequences(rows: list[dict[str, Any]]) -> Sequences:
    length = max(len(row["prompt_ids"]) + len(row["response_ids"]) for row in rows)
    ids = torch.full((len(rows), length), PAD)
    labels = torch.full((len(rows), length), IGNORED)
    mask = torch.zeros((len(rows), length), dtype=torch.bool)
    for number, row in enumerate(rows):
        start = len(row["prompt_ids"])
        end = start + len(row["response_ids"])
        ids[number, :end] = torch.tensor(row["prompt_ids"] + row["response_ids"])
        labels[number, start:end] = torch.tensor(row["response_ids"])
        mask[number, :end] = True
    return Sequences(ids, labels, mask, [row["text"] for row in rows])


class AnswerLoss(nn.Module):
    """The tuned model as a loss: mean cross-entropy of each example's response, summed over them.

    The sum keeps one example's gradient free of what else is in its batch. The causal mask is
    built here because what the library builds depends on values, which ``vmap`` cannot follow.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(
            exchange.spec["base"], dtype=torch.float32, attn_implementation="eager"
        )
        self.tuned = PeftModel.from_pretrained(base, exchange.spec["adapter"])
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(".lora_A." in name or ".lora_B." in name)
        self.eval()

    def lora_modules(self) -> list[str]:
        """The linear layers that hold the A and B matrices, in the order of the parameters."""
        return [
            name
            for name, module in self.named_modules()
            if isinstance(module, nn.Linear) and (".lora_A." in name or ".lora_B." in name)
        ]

    def forward(self, ids: Tensor, labels: Tensor) -> SimpleNamespace:
        length = ids.shape[-1]
        kind = next(self.parameters()).dtype
        causal = torch.full((length, length), torch.finfo(kind).min, dtype=kind).triu(1)
        logits = self.tuned(
            input_ids=ids,
            attention_mask=causal[None, None].expand(ids.shape[0], 1, length, length),
            position_ids=torch.arange(length)[None],
            use_cache=False,
        ).logits
        losses = answer_losses(logits, labels)
        return SimpleNamespace(losses=losses, loss=losses.sum(), logits=logits)


def answer_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the response tokens of each example."""
    targets = labels[:, 1:]
    said = nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    return said.sum(dim=1) / (targets != IGNORED).sum(dim=1)


class Clock:
    """Seconds since it was made or last read."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def read(self) -> float:
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        return passed


@dataclass
class Answer:
    """What a method found: scores by setting, larger where a record made an answer likelier."""

    settings: dict[str, npt.NDArray[np.float64]]
    index_seconds: float
    query_seconds: float
    bytes_per_example: int
    note: str


def answer(exchange: Exchange, method: str, package: str, run: Callable[[], Answer]) -> None:
    """Run a method and write its files: its scores, or the error that kept it from any."""
    scores = exchange.place / "scores"
    scores.mkdir(exist_ok=True)
    about: dict[str, Any] = {"package": package, "version": "not installed"}
    try:
        about["version"] = version(package)
        found = run()
        values = np.stack(list(found.settings.values())).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("scores are not all finite")
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip() or "no message").splitlines()[0][:300]
        about["error"] = f"{type(error).__name__}: {first}"
        (scores / f"{method}.npz").unlink(missing_ok=True)
    else:
        np.savez(scores / f"{method}.npz", scores=values)
        about |= {
            "settings": list(found.settings),
            "index_seconds": round(found.index_seconds, 3),
            "query_seconds": round(found.query_seconds, 3),
            "records": len(exchange.examples),
            "bytes_per_example": found.bytes_per_example,
            "note": found.note,
        }
    (scores / f"{method}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    print(method, json.dumps(about), flush=True)
