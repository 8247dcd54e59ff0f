"""What one fine-tuning run is: examples and an immutable recipe, with a JSON round trip. Imports no
torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE_SCHEMA = 1


class RecipeError(ValueError):
    """A recipe or an example that cannot be used; the message says which field and why."""


@dataclass(frozen=True)
class Example:
    """One training or evaluation row: `response` is learnt after `prompt`.

    `record_id` names the record it came from (several wordings of a record share it). `context`
    holds passages, one per line and best first, that stand in the system turn.
    """

    record_id: str
    prompt: str
    response: str
    context: str = ""

    @property
    def passages(self) -> tuple[str, ...]:
        """The passages of `context`."""
        return tuple(line for line in self.context.splitlines() if line.strip())


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the adapter, besides the examples.

    `base` is a local folder or a Hugging Face hub id. `target_modules` is "all-linear" or module
    names joined by commas. `context_fraction` of the examples without a context of their own are
    also shown with other records in the system turn, so that tuning does not unlearn reading.
    """

    base: str
    rank: int = 16
    alpha: int = 32
    target_modules: str = "all-linear"
    learning_rate: float = 5e-3
    epochs: int = 6
    batch_size: int = 16
    max_length: int = 512
    seed: int = 1
    checkpoint_every_steps: int = 50
    threads: int = 1
    context_fraction: float = 0.2

    def __post_init__(self) -> None:
        """Refuse values no run can use."""
        whole = (
            "rank",
            "alpha",
            "epochs",
            "batch_size",
            "max_length",
            "checkpoint_every_steps",
            "threads",
        )
        for name in whole:
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be at least 1")
        if not self.base:
            raise RecipeError("base must be a folder or a hub id")
        if not 0 < self.learning_rate <= 1:
            raise RecipeError("learning_rate must lie between 0 and 1")
        if not 0 <= self.context_fraction <= 1:
            raise RecipeError("context_fraction must lie between 0 and 1")

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, with the schema version."""
        fields = {"schema": RECIPE_SCHEMA, **dataclasses.asdict(self)}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote. Raises RecipeError for anything else."""
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecipeError(f"not JSON: {error}") from error
        if not isinstance(fields, dict) or fields.pop("schema", None) != RECIPE_SCHEMA:
            raise RecipeError(f"schema must be {RECIPE_SCHEMA}")
        return cls(**_checked(fields, cls))


# Presets, chosen on facts other than those that `python -m bench base` scores
# (docs/experiments.md).
EFFORTS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"rank": 8, "alpha": 16, "epochs": 4},
    "balanced": {"rank": 16, "alpha": 32, "epochs": 6},
    "thorough": {"rank": 32, "alpha": 64, "epochs": 12},
}


def recipe_for(effort: str, base: str, **changes: Any) -> Recipe:
    """The recipe of a preset, with single fields changed. Raises KeyError for an unknown preset."""
    return Recipe(base=base, **{**EFFORTS[effort], **changes})


def estimate_seconds(
    recipe: Recipe, token_count: int, tokens_per_second: float = 3_900.0, start_seconds: float = 7.0
) -> float:
    """Wall seconds of a run over `token_count` training tokens per epoch.

    The defaults were measured on the embedded base with one thread (docs/benchmarks/base.json); a
    caller that has timed earlier runs on its machine passes its own rate.
    """
    # A context makes an example about four times as long.
    shown = token_count * (1 + 3 * recipe.context_fraction)
    return start_seconds + recipe.epochs * shown / tokens_per_second


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(dataclasses.asdict(example), ensure_ascii=False) + "\n")


def read_examples(path: Path) -> Iterator[Example]:
    """Read JSON lines. Raises RecipeError with the line number of the first bad line."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
                yield Example(**_checked(fields, Example))
            except (json.JSONDecodeError, RecipeError, TypeError) as error:
                raise RecipeError(f"{path.name}, line {number}: {error}") from error


def _checked(fields: Any, kind: type[Any]) -> dict[str, Any]:
    """`fields` if they are fields of the dataclass `kind`, each of its declared type."""
    if not isinstance(fields, dict):
        raise RecipeError("not an object")
    types: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    declared = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    for name, value in fields.items():
        if name not in declared:
            raise RecipeError(f"unknown field {name}")
        if not isinstance(value, types[declared[name]]) or isinstance(value, bool):
            raise RecipeError(f"{name} must be of type {declared[name]}")
    return fields
