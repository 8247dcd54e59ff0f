"""What protecting single rows costs and what it keeps, on the embedded base.

A world of rows in which a few facts are each said by many rows, as people of one trade would, and
others by one row each: facts, and canaries with a random number. The same rows are trained by the
usual recipe and by private ones. Shared facts are asked in held-out wordings. Of canaries it is
asked how much likelier training made those that were trained than as many that never were, and how
well that tells the two apart (ROC AUC: .5 is chance), beside the bound that the accountant proves.

One world and one seed: figures of 24 canaries say whether protection is broken, not how strong it
is. `--count` is the rows of a shared fact.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.facts import FreshFact, FreshFacts
from datanets.wordings import held_out_wordings, training_wordings
from modelfactory.training.recipe import Example, Recipe, private_recipe_for, recipe_for

SHARED_FACTS, SINGLE_FACTS, CANARIES = 5, 12, 24
ROWS_OF_A_FACT = 192
EPSILONS = (None, 16.0, 8.0, 4.0)
EFFORT, USUAL_EFFORT = "quick", "balanced"
"""Private and usual recipes of these presets read each row six times."""


@dataclass(frozen=True)
class World:
    """`trained` rows of one example each; questions about what they say; canaries beside."""

    trained: list[Example]
    about_shared: list[Example]
    about_single: list[Example]
    canaries: list[Example]
    never_trained: list[Example]

    @property
    def records(self) -> int:
        return len({row.record_id for row in self.trained})


def make_world(seed: int, rows_of_a_fact: int) -> World:
    """The same for the same seed. Rows of a shared fact differ in their wording at most."""
    from modelfactory.training.exposure import make_canaries

    facts = FreshFacts(seed).draw(SHARED_FACTS + SINGLE_FACTS)
    shared, single = facts[:SHARED_FACTS], facts[SHARED_FACTS:]
    canaries = make_canaries(seed, 2 * CANARIES)
    trained = [
        Example(f"shared-{at}-{row}", *_worded(fact, row))
        for at, fact in enumerate(shared)
        for row in range(rows_of_a_fact)
    ]
    trained += [Example(f"single-{at}", *_worded(fact, 0)) for at, fact in enumerate(single)]
    return World(
        [*trained, *canaries[:CANARIES]],
        list(_reworded(shared)),
        list(_reworded(single)),
        canaries[:CANARIES],
        canaries[CANARIES:],
    )


def _worded(fact: FreshFact, number: int) -> tuple[str, str]:
    wordings = training_wordings(fact.question)
    return wordings[number % len(wordings)].text, fact.answer


def _reworded(facts: Sequence[FreshFact]) -> Iterator[Example]:
    for fact in facts:
        for wording in held_out_wordings(fact.question):
            yield Example("", wording.text, fact.answer)


def measure(count: int = ROWS_OF_A_FACT, seed: int = 1) -> dict[str, Any]:
    """Figures for `docs/benchmarks/private_training.json`."""
    from modelfactory.training.base_files import SHIPPED_BASE

    world = make_world(seed, count)
    recipes = {_name(epsilon): _recipe(str(SHIPPED_BASE), epsilon, world) for epsilon in EPSILONS}
    return {
        "records": world.records,
        "shared_facts": SHARED_FACTS,
        "rows_of_a_shared_fact": count,
        "questions_about_shared": len(world.about_shared),
        "questions_about_single": len(world.about_single),
        "canaries": len(world.canaries),
        "effort": EFFORT,
        "usual_effort": USUAL_EFFORT,
        "seed": seed,
        "threads": 1,
        "runs": {name: _run(recipe, world) for name, recipe in recipes.items()},
    }


def _name(epsilon: float | None) -> str:
    return "unprotected" if epsilon is None else f"epsilon_{epsilon:g}"


def _recipe(base: str, epsilon: float | None, world: World) -> Recipe:
    if epsilon is None:
        return recipe_for(USUAL_EFFORT, base)
    return private_recipe_for(EFFORT, base, epsilon=epsilon, record_count=world.records)


def _run(recipe: Recipe, world: World) -> dict[str, Any]:
    """Train once and ask everything."""
    from modelfactory.training.evaluate import evaluate
    from modelfactory.training.lora import train_and_keep

    with tempfile.TemporaryDirectory(prefix="bench-private-") as folder:
        began, used = time.monotonic(), time.process_time()
        result, model, tokenizer = train_and_keep(recipe, world.trained, Path(folder))
        seconds, processor = time.monotonic() - began, time.process_time() - used
        rose = _rises(model, tokenizer, world)
        shared = evaluate(model, tokenizer, world.about_shared)
        single = evaluate(model, tokenizer, world.about_single)
    privacy = recipe.privacy
    promised = {
        "epsilon_spent": round(privacy.epsilon_spent, 3),
        "delta": privacy.delta,
        "noise_multiplier": privacy.noise_multiplier,
        "sampling_rate": round(privacy.sampling_rate, 5),
        "guessed_right_at_most": round(privacy.guessed_right_at_most, 3),
    } if privacy is not None else {}  # fmt: skip
    return {
        **promised,
        "steps": result.steps,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "rewordings_of_shared_right": round(statistics.fmean(r.tuned_correct for r in shared), 3),
        "rewordings_of_single_right": round(statistics.fmean(r.tuned_correct for r in single), 3),
        "base_right": round(statistics.fmean(r.base_correct for r in [*shared, *single]), 3),
        "nats_gained_shared": round(float(rose["shared"].mean()), 2),
        "nats_gained_single": round(float(rose["single"].mean()), 2),
        "nats_gained_canaries": round(float(rose["canaries"].mean()), 2),
        "nats_gained_never_trained": round(float(rose["never_trained"].mean()), 2),
        "canary_gap_nats": round(float(rose["canaries"].mean() - rose["never_trained"].mean()), 2),
        "canary_gap_error": round(_error(rose["canaries"], rose["never_trained"]), 2),
        "membership_auc": round(_auc(rose["canaries"], rose["never_trained"]), 3),
    }


def _rises(model: Any, tokenizer: Any, world: World) -> dict[str, npt.NDArray[np.float64]]:
    """By how many nats each whole answer became likelier than under the base."""
    from modelfactory.attribution.gradients import TokenExample, log_probabilities
    from modelfactory.training.chat import messages_for, render

    def tokens(example: Example) -> TokenExample:
        found = render(tokenizer, messages_for(example.prompt), example.response)
        split = found.prompt_length
        return TokenExample(found.ids[:split], found.ids[split:])

    groups = {
        "shared": world.about_shared,
        "single": world.about_single,
        "canaries": world.canaries,
        "never_trained": world.never_trained,
    }
    asked = {name: [tokens(example) for example in group] for name, group in groups.items()}
    tuned = {name: log_probabilities(model, group) for name, group in asked.items()}
    with model.disable_adapter():
        base = {name: log_probabilities(model, group) for name, group in asked.items()}
    return {name: tuned[name] - base[name] for name in asked}


def _error(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Standard error of the difference of two means."""
    return float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))


def _auc(members: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    """How often a member's score is the higher one of a pair; a tie is half."""
    higher = (members[:, None] > others).mean()
    return float(higher + (members[:, None] == others).mean() / 2)
