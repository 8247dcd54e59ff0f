"""What a build reads from its folder: ``spec.json``, ``records.jsonl``, maybe ``phantoms.jsonl``.

The lines are ``training.recipe.Example`` rows, oldest record first; several lines with one
``record_id`` are wordings of one record. Without a phantoms file the phantoms are made from the
records (see ``phantoms``). Imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelfactory.attribution.phantoms import Statement, make_phantoms
from modelfactory.training.recipe import Example, RecipeError, read_examples

SCHEMA = 1


class JobError(ValueError):
    """A build folder that cannot be used; the message says which file and why."""


@dataclass(frozen=True)
class BuildSpec:
    """``base`` is a folder or hub id, ``adapter`` a folder in PEFT's format.

    ``trail`` holds the adapters of earlier moments of the run, earliest first; ``follows`` names
    indexes that this one replaces (``AttributionIndex.follows``).
    ``base_digest`` may be left out for a base folder. ``settings`` are fields of
    ``build.IndexSettings``; ``phantom_count`` is used when there is no phantoms file.
    """

    base: str
    adapter: str
    base_digest: str = ""
    max_length: int = 512
    threads: int = 1
    phantom_count: int = 64
    trail: list[str] = field(default_factory=list)
    follows: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, sort_keys=True)


@dataclass(frozen=True)
class Job:
    """A read build folder; ``records`` holds the examples of each record, oldest first."""

    spec: BuildSpec
    records: tuple[tuple[Example, ...], ...]
    phantoms: tuple[Example, ...]


def read_job(folder: Path) -> Job:
    """Raises ``JobError`` when a file is missing or malformed, or phantoms cannot be made."""
    try:
        document = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        if document.pop("schema", None) != SCHEMA:
            raise JobError("spec.json has an unknown schema")
        spec = BuildSpec(**document)
        grouped: dict[str, list[Example]] = {}
        for example in read_examples(folder / "records.jsonl"):
            grouped.setdefault(example.record_id, []).append(example)
        records = tuple(tuple(examples) for examples in grouped.values())
        given = folder / "phantoms.jsonl"
        phantoms = tuple(read_examples(given)) if given.exists() else _made(spec, records)
    except (OSError, TypeError, AttributeError, RecipeError, ValueError) as error:
        raise error if isinstance(error, JobError) else JobError(str(error)) from error
    return Job(spec, records, phantoms)


def _made(spec: BuildSpec, records: Sequence[Sequence[Example]]) -> tuple[Example, ...]:
    """Phantoms over the first wording of each record, with the seed of the index settings."""
    statements = [Statement(examples[0].prompt, examples[0].response) for examples in records]
    seed = int(spec.settings.get("seed", 0))
    made = make_phantoms(statements, count=spec.phantom_count, seed=seed)
    return tuple(
        Example(f"phantom-{at}", item.prompt, item.response) for at, item in enumerate(made)
    )


@dataclass(frozen=True)
class RetrainedSubset:
    """An adapter that was retrained on the records ``kept``."""

    adapter: str
    kept: frozenset[str]


@dataclass(frozen=True)
class CalibrationSpec:
    """What a calibration is made of: ``spec.json``, ``questions.jsonl`` and ``kinds.json``.

    Adapters of earlier moments, which the index names, lie beside ``adapter`` by their digests.
    """

    base: str
    index: str
    adapter: str
    subsets: tuple[RetrainedSubset, ...]
    questions: tuple[Example, ...]
    kinds: tuple[str, ...]
    max_length: int = 512
    threads: int = 1
    seed: int = 0


MINIMUM_SUBSETS = 4
MINIMUM_QUESTIONS = 4


def read_calibration_spec(folder: Path) -> CalibrationSpec:
    """Raises ``JobError`` when a file is missing or malformed, or there is too little to fit."""
    try:
        document = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        if document.get("schema") != SCHEMA:
            raise JobError("spec.json has an unknown schema")
        questions = tuple(read_examples(folder / "questions.jsonl"))
        kinds = tuple(json.loads((folder / "kinds.json").read_text(encoding="utf-8")))
        spec = CalibrationSpec(
            base=document["base"],
            index=document["index"],
            adapter=document["adapter"],
            subsets=tuple(
                RetrainedSubset(item["adapter"], frozenset(item["kept"]))
                for item in document["subsets"]
            ),
            questions=questions,
            kinds=kinds,
            max_length=int(document.get("max_length", 512)),
            threads=int(document.get("threads", 1)),
            seed=int(document.get("seed", 0)),
        )
    except (OSError, TypeError, KeyError, AttributeError, RecipeError, ValueError) as error:
        raise error if isinstance(error, JobError) else JobError(str(error)) from error
    if len(kinds) != len(questions):
        raise JobError("kinds.json has not one kind for each line of questions.jsonl")
    if len(spec.subsets) < MINIMUM_SUBSETS or len(questions) < MINIMUM_QUESTIONS:
        raise JobError(
            f"a calibration needs {MINIMUM_SUBSETS} retrainings and {MINIMUM_QUESTIONS} questions"
        )
    return spec
