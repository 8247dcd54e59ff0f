"""How complete a Datanet's page is: a published formula, and what to do next. Pure.

The score is the sum of the points of what is there, 100 in all. Points follow what a stranger needs
before using the rows: what they are and may be used for, who answers for them, and proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Field of the card, title, what to write.
CARD_QUESTIONS: tuple[tuple[str, str, str], ...] = (
    ("purpose", "Purpose", "What a model that learnt these rows should be able to do."),
    ("collection", "How the rows were collected", "Sources, method, dates, who was asked."),
    ("languages", "Languages", "For example: English, some German."),
    ("limits", "Known limits", "Gaps, biases, errors that are known, what was not checked."),
    ("intended_use", "Intended use", "What the rows are good for."),
    ("excluded_use", "Not for", "What nobody should use them for, and why."),
    ("maintenance", "Maintenance", "Who looks after the rows, and how often versions are cut."),
    (
        "contact",
        "Contact",
        "Where questions and complaints go. Everybody who sees the page sees it.",
    ),
)
ANSWER_WORDS_MIN = 3
"""A shorter answer to an open question does not count; languages and contact may be one word."""
GUIDELINES_WORDS_MIN = 10
ROWS_MIN = 20
CONTRIBUTORS_MIN = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What the score looks at."""

    card: Mapping[str, str]
    guidelines: str
    accepted_rows: int
    contributors: int
    versions: int
    rows_wait: bool
    has_samples: bool
    rows_of_known_source: int


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that counts. `place` names where it is done: a field of the card, or a page."""

    title: str
    points: int
    done: bool
    todo: str
    place: str


@dataclass(frozen=True, slots=True)
class Completeness:
    items: tuple[Item, ...]

    @property
    def score(self) -> int:
        return sum(item.points for item in self.items if item.done)

    @property
    def next_steps(self) -> list[Item]:
        """What is missing, the most points first."""
        missing = [item for item in self.items if not item.done]
        return sorted(missing, key=lambda item: -item.points)


_CARD_POINTS = {
    "purpose": 10, "collection": 10, "languages": 5, "limits": 10, "intended_use": 8,
    "excluded_use": 7, "maintenance": 5, "contact": 5,
}  # fmt: skip


def completeness(facts: Facts) -> Completeness:
    """60 points for the card, 40 for what is behind it."""
    items = [
        Item(
            title,
            _CARD_POINTS[name],
            _answered(name, facts.card.get(name, "")),
            f"Answer “{title}” on the card",
            name,
        )
        for name, title, _ in CARD_QUESTIONS
    ]
    rows, people = facts.accepted_rows, facts.contributors
    items += [
        Item(
            "Guidelines", 8, len(facts.guidelines.split()) >= GUIDELINES_WORDS_MIN,
            f"Write guidelines of {GUIDELINES_WORDS_MIN} words or more", "guidelines",
        ),
        Item(
            f"{ROWS_MIN} accepted rows", 7, rows >= ROWS_MIN,
            f"Gather {max(0, ROWS_MIN - rows)} more accepted rows", "contribute",
        ),
        Item(
            f"Rows of {CONTRIBUTORS_MIN} people", 4, people >= CONTRIBUTORS_MIN,
            "Invite a second contributor", "members",
        ),
        Item(
            "Source and method of most rows", 5, 10 * facts.rows_of_known_source >= 9 * rows > 0,
            "Ask contributors to say where rows come from (9 of 10 rows)", "contribute",
        ),
        Item("A version", 8, facts.versions > 0, "Cut the first version", "version"),
        Item(
            "No row waits", 4, not facts.rows_wait, "Review the rows that wait", "review",
        ),
        Item("Samples", 4, facts.has_samples, "Mark a few rows as samples", "samples"),
    ]  # fmt: skip
    return Completeness(tuple(items))


def _answered(name: str, answer: str) -> bool:
    if name in ("languages", "contact"):
        return bool(answer.strip())
    return len(answer.split()) >= ANSWER_WORDS_MIN


def answers_of(card: Any) -> list[tuple[str, str]]:
    """Title and answer of every question that was answered, in order; a card or its fields."""
    fields = card if isinstance(card, Mapping) else vars(card) if card is not None else {}
    answers = [(title, fields.get(name, "").strip()) for name, title, _ in CARD_QUESTIONS]
    return [(title, answer) for title, answer in answers if answer]
