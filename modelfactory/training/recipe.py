"""What one fine-tuning run is: examples and an immutable recipe, with a JSON round trip. Imports no
torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfactory.training.accounting import epsilon_spent, guessed_right_at_most, noise_for

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
class Privacy:
    """What a differentially private run promises of each record, and what keeps it (`private.py`).

    Whoever knows every other record can hardly tell whether one was trained: its presence makes
    nothing that the adapter shows more than e^`epsilon` times as likely, but with probability
    `delta`. `record_count`, taken as public, times `sampling_rate` is the expected size of a step.
    """

    epsilon: float
    delta: float
    record_count: int
    sampling_rate: float
    steps: int
    noise_multiplier: float
    clip_norm: float

    def __post_init__(self) -> None:
        """Refuse a promise that these numbers do not keep."""
        if not 0 < self.delta < 1 or not 0 < self.sampling_rate <= 1:
            raise RecipeError("delta and sampling_rate must lie between 0 and 1")
        if self.record_count < 1 or self.steps < 1:
            raise RecipeError("record_count and steps must be at least 1")
        if not 0 < self.clip_norm < math.inf or not 0 < self.noise_multiplier < math.inf:
            raise RecipeError("clip_norm and noise_multiplier must be positive numbers")
        if not self.epsilon_spent <= self.epsilon:
            raise RecipeError(f"this noise does not keep epsilon {self.epsilon:g}")

    @classmethod
    def from_json_object(cls, fields: Any) -> Privacy:
        """The object of a recipe's JSON. Raises RecipeError for anything else."""
        try:
            return cls(**_checked(fields, cls))
        except TypeError as error:
            raise RecipeError(f"privacy: {error}") from error

    @property
    def epsilon_spent(self) -> float:
        """The ε that all steps together spend, by the accountant."""
        return epsilon_spent(self.sampling_rate, self.noise_multiplier, self.steps, self.delta)

    @property
    def guessed_right_at_most(self) -> float:
        """How often who knows all other records guesses right whether one was trained; .5 is
        chance.
        """
        return guessed_right_at_most(self.sampling_rate, self.noise_multiplier, self.steps)

    @property
    def expected_records(self) -> float:
        """Records that a step takes in the mean."""
        return self.record_count * self.sampling_rate


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the adapter, besides the examples.

    `base` is a local folder or a Hugging Face hub id. `target_modules` is "all-linear" or module
    names joined by commas. `context_fraction` of the examples without a context of their own are
    also shown with other records in the system turn, so that tuning does not unlearn reading.
    With `privacy`, `private.py` says what a step is; `batch_size` is then only how many records and
    examples are held in memory at once.
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
    privacy: Privacy | None = None

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
        """Canonical JSON: sorted keys, no spaces, with the schema version.

        Without privacy it is what it was before there was any: stored runs keep their identity.
        """
        fields = {"schema": RECIPE_SCHEMA, **dataclasses.asdict(self)}
        if self.privacy is None:
            del fields["privacy"]
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
        promised = fields.pop("privacy", None)
        privacy = None if promised is None else Privacy.from_json_object(promised)
        return cls(**_checked(fields, cls), privacy=privacy)


# Presets, chosen on facts other than those that `python -m bench base` scores
# (docs/experiments.md).
EFFORTS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"rank": 8, "alpha": 16, "epochs": 4},
    "balanced": {"rank": 16, "alpha": 32, "epochs": 6},
    "thorough": {"rank": 32, "alpha": 64, "epochs": 12},
}


# Of private runs. Noise falls on every number that is trained and averages out over the records of
# a step: small adapters, few large steps and a high rate learn most (docs/experiments.md).
PRIVATE_EPSILONS = (16, 8, 4)
PRIVATE_EFFORTS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"rank": 4, "alpha": 8, "epochs": 6, "learning_rate": 2e-2},
    "balanced": {"rank": 4, "alpha": 8, "epochs": 12, "learning_rate": 2e-2},
    "thorough": {"rank": 4, "alpha": 8, "epochs": 24, "learning_rate": 2e-2},
}
SAMPLING_RATE, RECORDS_A_STEP = 0.1, 512
CLIP_NORM = 0.1
DELTA_MOST = 1e-5
PRIVATE_SLOWDOWN = 1.3
"""A gradient of each row beside one of all: measured on the embedded base, one thread."""


def recipe_for(effort: str, base: str, **changes: Any) -> Recipe:
    """The recipe of a preset, with single fields changed. Raises KeyError for an unknown preset."""
    return Recipe(base=base, **{**EFFORTS[effort], **changes})


def private_recipe_for(
    effort: str, base: str, *, epsilon: float, record_count: int, **changes: Any
) -> Recipe:
    """As `recipe_for`, with noise that keeps `epsilon` for each of `record_count` records.

    δ is the usual 1e-5, and less where more than 10,000 records make that too much: a tenth of one
    record. Records are read `epochs` times in the mean.
    """
    recipe = Recipe(base=base, **{**PRIVATE_EFFORTS[effort], **changes})
    delta = min(DELTA_MOST, 1 / (10 * record_count))
    rate = min(SAMPLING_RATE, RECORDS_A_STEP / record_count)
    steps = max(1, round(recipe.epochs / rate))
    noise = noise_for(epsilon, delta, rate, steps)
    privacy = Privacy(epsilon, delta, record_count, rate, steps, noise, CLIP_NORM)
    return dataclasses.replace(recipe, privacy=privacy)


def estimate_seconds(
    recipe: Recipe, token_count: int, tokens_per_second: float = 3_900.0, start_seconds: float = 7.0
) -> float:
    """Wall seconds of a run over `token_count` training tokens per epoch.

    The defaults were measured on the embedded base with one thread (docs/benchmarks/base.json); a
    caller that has timed earlier runs on its machine passes its own rate.
    """
    # A context makes an example about four times as long, a record's own passage twice.
    longer, slower = (3, 1.0) if recipe.privacy is None else (1, PRIVATE_SLOWDOWN)
    shown = token_count * (1 + longer * recipe.context_fraction)
    return start_seconds + slower * recipe.epochs * shown / tokens_per_second


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
