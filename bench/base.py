"""What the embedded base can do: exact match on rewordings of facts it has never seen.

Each seed draws fresh facts, tunes an adapter on their training wordings in a child process, as the
trainer does, and asks every held-out wording four ways: base or tuned, from memory or with the
three records that the site's retriever finds. The settings (`balanced`) were chosen on the facts of
DEVELOPMENT_SEEDS, which are not scored. `python_facts` repeats it once on the kind of facts that
the demo teaches.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.facts import FreshFact, FreshFacts, python_facts
from datanets.wordings import held_out_wordings, training_wordings
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.training.chat import messages_for, record_passage
from modelfactory.training.recipe import Example, Recipe, recipe_for, write_examples

DEVELOPMENT_SEEDS = (1, 2, 3)
SEEDS = (101, 102, 103, 104, 105)
FACTS = 48
PASSAGES = 3  # as many as an answer of the site reads
EFFORT = "balanced"
CONDITIONS = ("base", "base_retrieval", "tuned", "tuned_retrieval")
# Two-sided 95 % quantiles of Student's t for 1 to 9 degrees of freedom.
_STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Asked:
    """One held-out wording of one fact."""

    fact: int
    family: str
    question: str
    expected: str
    passages: tuple[str, ...]


def measure(seeds: Sequence[int] = SEEDS, count: int = FACTS) -> dict[str, Any]:
    """Figures for `docs/benchmarks/base.json`."""
    from modelfactory.training.base_files import SHIPPED_BASE

    drawn = [_measure_facts(FreshFacts(seed).draw(count), seed, SHIPPED_BASE) for seed in seeds]
    python = _measure_facts(python_facts(), 1, SHIPPED_BASE)
    weights = SHIPPED_BASE / "model.safetensors"
    return {
        "rewording_exact_match": {name: _mean(drawn, name) for name in CONDITIONS},
        "interval_95": {
            name: _interval([one["exact_match"][name] for one in drawn]) for name in CONDITIONS
        },
        "facts": count,
        "questions": sum(one["questions"] for one in drawn),
        "seconds_to_tune": round(statistics.fmean(one["seconds_to_tune"] for one in drawn), 1),
        "parameters": _parameters(SHIPPED_BASE),
        "megabytes": round(sum(path.stat().st_size for path in SHIPPED_BASE.iterdir()) / 1e6, 2),
        "weights_megabytes": round(weights.stat().st_size / 1e6, 2),
        "effort": EFFORT,
        "threads": 1,
        "processor": _processor(),
        "processor_seconds_to_tune": round(
            statistics.fmean(one["processor_seconds"] for one in drawn), 1
        ),
        "load_average": round(os.getloadavg()[1], 1),  # of other work, when well above 1
        "retriever_finds_the_record": round(
            statistics.fmean(one["retriever_hits"] for one in drawn), 3
        ),
        "by_family": _by_family(drawn),
        "seeds": {str(seed): one for seed, one in zip(seeds, drawn, strict=True)},
        "python_facts": python,
    }


def _measure_facts(facts: Sequence[FreshFact], seed: int, base: Path) -> dict[str, Any]:
    """Tune on `facts` and score the four conditions."""
    recipe = recipe_for(EFFORT, str(base), seed=seed)
    asked = _questions(facts)
    with tempfile.TemporaryDirectory(prefix="bench-base-") as name:
        folder = Path(name)
        seconds, processor = _tune(folder, recipe, facts)
        right = _score(base, folder / "adapter", asked)
        steps = json.loads((folder / "result.json").read_text())
    return {
        "exact_match": {name: round(statistics.fmean(hits), 4) for name, hits in right.items()},
        "by_family": {
            family: {
                name: round(
                    statistics.fmean(
                        h for h, a in zip(hits, asked, strict=True) if a.family == family
                    ),
                    4,
                )
                for name, hits in right.items()
            }
            for family in sorted({one.family for one in asked})
        },
        "questions": len(asked),
        "retriever_hits": round(
            statistics.fmean(
                record_passage(facts[one.fact].question, facts[one.fact].answer) in one.passages
                for one in asked
            ),
            4,
        ),
        "seconds_to_tune": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "tokens": steps["tokens"],
        "steps": steps["steps"],
    }


def _questions(facts: Sequence[FreshFact]) -> list[Asked]:
    """Every held-out wording, with the passages that the site's retriever finds for it."""
    records = [record_passage(fact.question, fact.answer) for fact in facts]
    index = LexicalIndex.from_texts(records)
    return [
        Asked(
            number,
            wording.family,
            wording.text,
            fact.answer,
            tuple(records[hit.position] for hit in index.retrieve(wording.text, PASSAGES)),
        )
        for number, fact in enumerate(facts)
        for wording in held_out_wordings(fact.question)
    ]


def _tune(folder: Path, recipe: Recipe, facts: Sequence[FreshFact]) -> tuple[float, float]:
    """Wall and processor seconds of the whole process, imports and checkpoints included."""
    (folder / "recipe.json").write_text(recipe.to_json())
    write_examples(
        folder / "examples.jsonl",
        [
            Example(str(number), wording.text, fact.answer)
            for number, fact in enumerate(facts)
            for wording in training_wordings(fact.question)
        ],
    )
    began, used = time.monotonic(), os.times()
    subprocess.run(
        [sys.executable, "-m", "modelfactory.training", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )
    now = os.times()
    processor = now.children_user - used.children_user + now.children_system - used.children_system
    return time.monotonic() - began, processor


def _score(base: Path, adapter: Path, asked: Sequence[Asked]) -> dict[str, list[bool]]:
    """Which questions were answered right, by condition."""
    import torch
    from peft import PeftModel

    from modelfactory.training.base import load_base
    from modelfactory.training.evaluate import answers, exact_match

    torch.set_num_threads(1)
    model, tokenizer = load_base(base)
    tuned = PeftModel.from_pretrained(model, adapter)
    from_memory = [messages_for(one.question) for one in asked]
    with_records = [messages_for(one.question, one.passages) for one in asked]

    def right(conversations: Sequence[list[dict[str, str]]]) -> list[bool]:
        said = answers(tuned, tokenizer, conversations)
        return [exact_match(one.expected, text) for one, text in zip(asked, said, strict=True)]

    with tuned.disable_adapter():
        found = {"base": right(from_memory), "base_retrieval": right(with_records)}
    return {**found, "tuned": right(from_memory), "tuned_retrieval": right(with_records)}


def _mean(drawn: Sequence[dict[str, Any]], name: str) -> float:
    return round(statistics.fmean(one["exact_match"][name] for one in drawn), 3)


def _interval(values: Sequence[float]) -> list[float]:
    """Student's 95 % interval of the mean over seeds; the bare mean twice for a single seed."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return [round(mean, 3), round(mean, 3)]
    half = _STUDENT_T[len(values) - 2] * statistics.stdev(values) / len(values) ** 0.5
    return [round(max(0.0, mean - half), 3), round(min(1.0, mean + half), 3)]


def _by_family(drawn: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    families = sorted({family for one in drawn for family in one["by_family"]})
    return {
        family: {
            name: round(statistics.fmean(one["by_family"][family][name] for one in drawn), 3)
            for name in CONDITIONS
        }
        for family in families
    }


def _parameters(base: Path) -> int:
    from safetensors import safe_open

    with safe_open(base / "model.safetensors", framework="numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    total = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        total += size
    return total


def _processor() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()
