"""Never-trained records that look like the trained ones, to learn what noise scores.

A phantom keeps the form of a record but pairs its prompt with the response of another: the style,
the words and the topic are the trained ones, the statement was never taught. What such a pair
scores on a query is what form alone earns, so a record has to score more than nearly all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM_PHANTOMS = 8


@dataclass(frozen=True)
class Statement:
    """The prompt and response of one record, as text."""

    prompt: str
    response: str


def _key(seed: int, *parts: object) -> bytes:
    return hashlib.sha256(":".join(map(str, (seed, *parts))).encode()).digest()


def make_phantoms(statements: Sequence[Statement], *, count: int, seed: int) -> list[Statement]:
    """At most ``count`` distinct pairings that are none of ``statements``, the same for one seed.

    Fewer come back when the statements do not give so many. Raises ``ValueError`` below two
    different responses, where every pairing is a trained one.
    """
    trained = {(item.prompt, item.response) for item in statements}
    prompts = sorted({item.prompt for item in statements}, key=lambda text: _key(seed, "p", text))
    responses = sorted({item.response for item in statements})
    if len(responses) < 2:
        raise ValueError("phantoms need at least two different responses")
    phantoms: list[Statement] = []
    for round_number in range(len(responses)):
        for prompt in prompts:
            ranked = min(responses, key=lambda text: _key(seed, round_number, prompt, text))
            if (prompt, ranked) not in trained:
                trained.add((prompt, ranked))
                phantoms.append(Statement(prompt, ranked))
            if len(phantoms) == count:
                return phantoms
    return phantoms
