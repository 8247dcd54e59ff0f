"""What peers are given and what they give back: plain files, so that none imports another.

``EXCHANGE/`` holds ``spec.json`` (folders of base and adapter, module names), ``examples.jsonl``
(one trained example a line: ``record``, ``prompt_ids``, ``response_ids``, ``text``) and
``questions.jsonl`` (``prompt_ids``, ``response_ids``, ``text``; nothing about kinds or sources).
A peer writes ``EXCHANGE/scores/METHOD.npz``: ``scores`` [settings, questions, records] in float64,
where a larger number says that the record made the answer more likely, and ``METHOD.json``: the
settings' names, versions, seconds and bytes. Or ``METHOD.json`` with ``error`` alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import FULL, read_world

BYTES_PER_RECORD = 4096
"""What a stored record may take; who cannot keep to it says what it took."""


def write_exchange(folder: Path) -> Path:
    """``folder/exchange`` from a folder whose whole adapter is trained."""
    from peft import PeftModel

    from modelfactory.attribution.gradients import lora_modules
    from modelfactory.attribution.worker import token_example
    from modelfactory.training.base import load_base
    from modelfactory.training.base_files import SHIPPED_BASE

    world = read_world(folder)
    base, tokenizer = load_base(SHIPPED_BASE)
    adapter = folder / "runs" / FULL / "adapter"
    modules = lora_modules(PeftModel.from_pretrained(base, adapter))
    place = folder / "exchange"
    (place / "scores").mkdir(parents=True, exist_ok=True)
    spec = {
        "base": str(SHIPPED_BASE),
        "adapter": str(adapter),
        "modules": [module.name for module in modules],
        "records": len(world.rows),
        "bytes_per_record": BYTES_PER_RECORD,
    }
    (place / "spec.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")
    numbers = {row.record_id: number for number, row in enumerate(world.rows)}
    examples = []
    for example in world.examples():
        tokens = token_example(tokenizer, example, 512)
        examples.append(
            {
                "record": numbers[example.record_id],
                "prompt_ids": tokens.prompt_ids,
                "response_ids": tokens.response_ids,
                "text": f"{example.prompt}\n{example.response}",
            }
        )
    said = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    _write_lines(place / "examples.jsonl", examples)
    asked = [question.text for question in world.questions]
    write_questions(place / "questions.jsonl", tokenizer, asked, said)
    return place


def write_questions(
    path: Path, tokenizer: Any, asked: Sequence[str], answers: Sequence[str]
) -> None:
    """One line a question, with its answer as the text and the tokens that scores are of."""
    from modelfactory.attribution.worker import token_example
    from modelfactory.training.recipe import Example

    lines = []
    for text, answer in zip(asked, answers, strict=True):
        tokens = token_example(tokenizer, Example("", text, answer), 512)
        lines.append(
            {
                "prompt_ids": tokens.prompt_ids,
                "response_ids": tokens.response_ids,
                "text": f"{text}\n{answer}",
            }
        )
    _write_lines(path, lines)


def read_questions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8")


@dataclass(frozen=True)
class PeerScores:
    """Scores of one method [settings, questions, records], or why there are none."""

    method: str
    scores: npt.NDArray[np.float64] | None
    about: dict[str, Any]


def read_scores(place: Path) -> list[PeerScores]:
    found = []
    for path in sorted((place / "scores").glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        values = path.with_suffix(".npz")
        scores = np.load(values)["scores"] if "error" not in about else None
        found.append(PeerScores(path.stem, scores, about))
    return found
