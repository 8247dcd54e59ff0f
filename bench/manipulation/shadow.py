"""Rows optimised against a shadow model (Wang et al. 2024, arXiv 2409.05657).

The attacker trains a model of their own on the public rows, invents many rows, scores them with the
product's own index on the answers that others are likely to buy, and keeps and changes the best for
another round. Nothing of the attacked run is known but its rows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.influence.world import Question, Row
from bench.manipulation.attacks import ATTACKER
from bench.manipulation.market import Market, Outcome

SHADOW_SEED = 77


@dataclass(frozen=True)
class Search:
    """How long an attacker looks: rows invented in each round, and how many survive it."""

    rounds: int = 2
    invented: int = 40
    survivors: int = 4


def optimised(
    market: Market, rows: Sequence[Row], questions: Sequence[Question], search: Search, seed: int
) -> list[Row]:
    """The attacker's best invented rows."""
    rng = random.Random(f"shadow-{seed}")
    pool = [_invented(rng, rows, f"shadow-0-{at}") for at in range(search.invented)]
    best: list[Row] = []
    for number in range(search.rounds):
        outcome = market.open(
            f"shadow-{number}", rows, questions, SHADOW_SEED, watched=[*best, *pool]
        )
        earned = _worth(outcome)
        ranked = sorted([*best, *pool], key=lambda row: (-earned[row.record_id], row.record_id))
        best = ranked[: search.survivors]
        pool = [
            _mutated(rng, best[at % len(best)], rows, f"shadow-{number + 1}-{at}")
            for at in range(search.invented)
        ]
    return best


def _worth(outcome: Outcome) -> dict[str, float]:
    """What each row's score exceeds the threshold by, over all answers."""
    total = dict.fromkeys((row.record_id for row in outcome.rows), 0.0)
    for sale in outcome.sales:
        found = sale.attribution
        for record in found.records:
            total[record.record_id] += max(0, record.score - found.threshold) * found.score_unit
    return total


def _invented(rng: random.Random, rows: Sequence[Row], name: str) -> Row:
    """A question like the popular ones, answered with pieces of popular answers."""
    asked, one, other = rng.choice(rows), rng.choice(rows), rng.choice(rows)
    question = rng.choice(asked.wordings())
    answer = rng.choice([one.answer, f"{one.answer} {other.answer}", _piece(rng, one.answer)])
    return Row(name, ATTACKER, question, answer, "noise")


def _mutated(rng: random.Random, row: Row, rows: Sequence[Row], name: str) -> Row:
    """One word of the question or of the answer replaced by one of another row."""
    other = rng.choice(rows)
    if rng.random() < 0.5:
        return replace(row, record_id=name, question=_swapped(rng, row.question, other.question))
    return replace(row, record_id=name, answer=_swapped(rng, row.answer, other.answer))


def _piece(rng: random.Random, text: str) -> str:
    words = text.split()
    return " ".join(words[: rng.randint(1, len(words))])


def _swapped(rng: random.Random, text: str, other: str) -> str:
    words = text.split()
    words[rng.randrange(len(words))] = rng.choice(other.split())
    return " ".join(words)
