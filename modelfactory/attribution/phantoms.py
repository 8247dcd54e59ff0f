"""Never-trained records that look like the trained ones, to learn what noise scores.

A phantom keeps the form of a record but answers its prompt with the halves of two other responses:
the style, the words and the topic are the trained ones, neither the statement nor the response was
ever taught. What it scores on a query is what form alone earns, so a record has to score more than
nearly all of them.
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
    """At most ``count`` distinct statements that are none of ``statements``, the same for one seed.

    Fewer come back when the statements do not give so many. Raises ``ValueError`` below two
    different responses, of which nothing new can be made.
    """
    taught = {item.response for item in statements}
    prompts = sorted({item.prompt for item in statements}, key=lambda text: _key(seed, "p", text))
    responses = sorted(taught)
    if len(responses) < 2:
        raise ValueError("phantoms need at least two different responses")
    made: dict[tuple[str, str], Statement] = {}
    for round_number in range(len(responses)):
        for prompt in prompts:
            ranked = sorted(responses, key=lambda text: _key(seed, round_number, prompt, text))
            response = _halves(ranked[0], ranked[1])
            if response in taught:  # halves of texts that all begin alike
                response = f"{ranked[0]} {ranked[1]}"
            made.setdefault((prompt, response), Statement(prompt, response))
            if len(made) == count:
                return list(made.values())
    return list(made.values())


def _halves(first: str, second: str) -> str:
    """The first half of one text and the second half of the other, by words or else by letters."""
    joint, one, other = " ", first.split(), second.split()
    if min(len(one), len(other)) < 2:
        joint, one, other = "", list(first), list(second)
    return joint.join([*one[: (len(one) + 1) // 2], *other[len(other) // 2 :]])
