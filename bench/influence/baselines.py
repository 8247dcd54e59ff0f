"""What needs no peer's environment: word overlap, hidden states and chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.influence.bank import FULL, read_world, token_answers

Float64 = npt.NDArray[np.float64]


def baseline_scores(folder: Path) -> dict[str, Float64]:
    """Scores [questions, records] by method."""
    world = read_world(folder)
    said = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    asked = [f"{q.text}\n{a}" for q, a in zip(world.questions, said, strict=True)]
    rng = np.random.default_rng(0)
    return {
        "bm25": _bm25([f"{row.question}\n{row.answer}" for row in world.rows], asked),
        "bm25 of the answer": _bm25([row.answer for row in world.rows], said),
        "hidden": _hidden(folder),
        "random": rng.standard_normal((len(asked), len(world.rows))),
    }


def _bm25(texts: list[str], asked: list[str]) -> Float64:
    from modelfactory.attribution.lexical import LexicalIndex

    index = LexicalIndex.from_texts(texts)
    return np.array([index.scores(text) for text in asked])


def _hidden(folder: Path) -> Float64:
    """Cosine of mean last hidden states over response tokens (RepSim, as in DATE-LM)."""
    import torch
    from peft import PeftModel

    from modelfactory.attribution.gradients import TokenExample, pad_right
    from modelfactory.attribution.worker import token_example
    from modelfactory.training.base import load_base
    from modelfactory.training.base_files import SHIPPED_BASE

    world = read_world(folder)
    base, tokenizer = load_base(SHIPPED_BASE)
    model = PeftModel.from_pretrained(base, folder / "runs" / FULL / "adapter")

    def state(example: TokenExample) -> Float64:
        ids, _ = pad_right([example], torch.device("cpu"))
        with torch.inference_mode():
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        found = states[len(example.prompt_ids) - 1 : -1].mean(dim=0).double().numpy()
        return np.asarray(found / np.linalg.norm(found))

    rows = [
        np.mean([state(token_example(tokenizer, one, 512)) for one in row.examples()], axis=0)
        for row in world.rows
    ]
    return np.array(
        [[state(q) @ row for row in rows] for q in token_answers(folder, world, tokenizer)]
    )
