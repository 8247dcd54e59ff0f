"""What a run will do, before it starts: its recipe, its time, its memory, whose rows it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from datanets.models import Version
from datanets.selectors import readable_by, training_rows
from modelfactory.models import BaseModel, Run
from modelfactory.protection import Protection
from modelfactory.services.estimate import Fit, fit_of
from modelfactory.services.publish_model import rows_by_contributor
from modelfactory.services.training_files import measures_privacy, row_examples
from modelfactory.training.recipe import (
    Recipe,
    estimate_seconds,
    private_recipe_for,
    recipe_for,
)

PREVIEW_ROWS = 2
CHARACTERS_PER_TOKEN = 2.5
"""Of short English questions in a small vocabulary; larger vocabularies give longer tokens."""
SCORING_SECONDS = 10.0
"""Asking the held-out questions of the base and of the tuned model."""
FIT_WORDS = {
    "fits": "Fits: about {needed} MB of {free} MB free.",
    "tight": "Tight: about {needed} MB of {free} MB free. Close other work first.",
    "too_large": "Does not fit: about {needed} MB needed, {free} MB free.",
}


@dataclass(frozen=True)
class Plan:
    """Everything the last step of the wizard shows."""

    sentence: str
    version: Version
    base: BaseModel
    effort_label: str
    protection: Protection | None
    time: str
    fit_words: str
    shares: list[dict[str, Any]]
    examples: list[dict[str, str]]
    example_count: int


def recipe_of(
    base: BaseModel,
    effort: str,
    chosen: Mapping[str, Any],
    *,
    epsilon: float | None = None,
    record_count: int = 0,
) -> Recipe:
    """The recipe of an effort with the builder's own settings in it; None means not chosen.

    `base` is named by its source; the trainer's copy gets the folder of its machine. With `epsilon`
    it protects each of the `record_count` rows (decision 51).
    """
    changes: dict[str, Any] = {"threads": settings.TORCH_THREADS}
    changes |= {name: value for name, value in chosen.items() if value is not None}
    if "rank" in changes:
        changes["alpha"] = 2 * changes["rank"]  # the presets' ratio: the same step for any rank
    if epsilon is None:
        return recipe_for(effort, base.source, **changes)
    return private_recipe_for(
        effort, base.source, epsilon=epsilon, record_count=record_count, **changes
    )


def make_recipe(
    base: BaseModel,
    effort: str,
    chosen: Mapping[str, Any],
    *,
    epsilon: float | None = None,
    record_count: int = 0,
) -> dict[str, Any]:
    """`recipe_of` as the JSON object that a run stores."""
    recipe = recipe_of(base, effort, chosen, epsilon=epsilon, record_count=record_count)
    document: dict[str, Any] = json.loads(recipe.to_json())
    return document


def fit_for(base: BaseModel, recipe: Recipe) -> Fit:
    """Whether a run by `recipe` fits this machine's memory."""
    return fit_of(
        base,
        batch_size=recipe.batch_size,
        max_length=recipe.max_length,
        rank=recipe.rank,
        # Of each row that is held: its wordings' own, and their mean.
        gradients=2 * recipe.batch_size if recipe.privacy is not None else 1,
    )


def token_count(version: Version) -> int:
    """Tokens of one pass over the examples, estimated from their characters."""
    characters = sum(
        len(example["prompt"]) + len(example["response"])
        for row in training_rows(version)
        for example in row_examples(row)
    )
    return round(characters / CHARACTERS_PER_TOKEN)


def estimated_seconds(version: Version, recipe: Recipe) -> float:
    """Wall time of a run, from start to verdict, without waiting in the queue."""
    trainings = 2 if measures_privacy(version) else 1
    return SCORING_SECONDS + trainings * estimate_seconds(recipe, token_count(version))


def time_in_words(seconds: float) -> str:
    """A range, because the machine is shared: `40` → "about 30 to 60 seconds"."""
    low, high = 0.75 * seconds, 1.5 * seconds
    if high < 90:
        return f"about {_round(low, 5)} to {_round(high, 5)} seconds"
    if high < 5400:
        return f"about {_round(low / 60, 1)} to {_round(high / 60, 1)} minutes"
    return f"about {_round(low / 3600, 1)} to {_round(high / 3600, 1)} hours"


def _round(value: float, step: int) -> int:
    return max(step, round(value / step) * step)


def make_plan(user: Any, chosen: Mapping[str, Any]) -> Plan:
    """The plan of a filled-in form. Example text is in it only for who may read the rows."""
    version, base, effort = chosen["version"], chosen["base"], chosen["effort"]
    own = {name: chosen.get(name) for name in ("rank", "learning_rate", "epochs", "seed")}
    rows = list(training_rows(version))
    epsilon, record_count = chosen.get("epsilon"), version.train_count
    recipe = recipe_of(base, effort, own, epsilon=epsilon, record_count=record_count)
    fit = fit_for(base, recipe)
    people = rows_by_contributor(version)
    time = time_in_words(estimated_seconds(version, recipe))
    may_read = readable_by(user).filter(pk=version.datanet_id).exists()
    preview = [next(iter(row_examples(row))) for row in rows[:PREVIEW_ROWS]] if may_read else []
    example_count = sum(1 for row in rows for _ in row_examples(row))
    return Plan(
        sentence=(
            f"“{chosen['name']}” will learn {len(rows)} rows by {len(people)} "
            f"contributor{'' if len(people) == 1 else 's'}, in {example_count} wordings, each read "
            f"{recipe.epochs} times, on top of {base.name}. It takes {time}. Then it is asked "
            "questions in words it has never seen, and you see how its base answers the same."
        ),
        version=version,
        base=base,
        effort_label=Run.Effort(effort).label,
        protection=Protection(recipe.privacy) if recipe.privacy else None,
        time=time,
        fit_words=FIT_WORDS[fit.verdict].format(
            needed=fit.needed_megabytes, free=fit.free_megabytes
        ),
        shares=[{"label": person.name, "value": count} for person, count in people],
        examples=preview,
        example_count=example_count,
    )
