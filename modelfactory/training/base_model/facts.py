"""Invented facts: names nobody has, values of many shapes, each fact with several statements and
questions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from modelfactory.training.base_model.relations import (
    INVERSE_NOUNS,
    INVERSE_QUESTIONS,
    INVERSE_STATEMENTS,
    NOUN_QUESTIONS,
    NOUN_STATEMENTS,
    NOUNS,
    RELATIONS,
)
from modelfactory.training.base_model.words import Words

_ONSETS = (
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "qu",
    "r",
    "s",
    "sh",
    "sk",
    "st",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "x",
    "y",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ae", "ai", "ei", "ia", "io", "oa", "ou")
_CODAS = ["", "", "", "l", "m", "n", "r", "s", "x", "nd", "rk", "th", "ll", "ng", "sk", "lt"]
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_ENDINGS = (
    "Error",
    "Warning",
    "Exception",
    "Handler",
    "Queue",
    "Config",
    "Field",
    "Token",
    "Event",
    "",
)


@dataclass(frozen=True)
class Fact:
    """One invented fact and all the ways to state it and to ask for it."""

    entity: str
    value: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


class FactMaker:
    """Draws facts from one random stream; the same seed and words give the same facts."""

    def __init__(self, words: Words, rng: random.Random) -> None:
        self.words = words
        self.rng = rng
        self.makers: dict[str, Callable[[], str]] = {
            "name": self.name,
            "place": self.proper,
            "person": lambda: (
                f"{self.proper()} {self.proper()}" if rng.random() < 0.6 else self.proper()
            ),
            "number": self.number,
            "year": lambda: str(rng.randint(1100, 2190)),
            "date": lambda: (
                f"{rng.randint(1, 28)} {rng.choice(_MONTHS)}"
                + (f" {rng.randint(1900, 2090)}" if rng.random() < 0.5 else "")
            ),
            "phrase": lambda: self.phrase(1, 8),
            "word": lambda: self.phrase(1, 2),
            "sentence": lambda: rng.choice(words.sentences),
            "code": self.code,
            "identifier": self.identifier,
            "callable": lambda: self.identifier() + rng.choice(["()", "", ""]),
            "title": lambda: self.phrase(1, 4).title(),
            "task": lambda: self.phrase(2, 5),
            "money": lambda: (
                f"{self.number()} {rng.choice(['OPEN', 'euros', 'dollars', 'crowns'])}"
            ),
            "version": lambda: ".".join(str(rng.randint(0, 30)) for _ in range(rng.randint(2, 3))),
        }

    def fact(self) -> Fact:
        """One fact of a random kind."""
        draw = self.rng.random()
        if draw < 0.40:
            return self.noun_fact()
        if draw < 0.58:
            return self.inverse_fact()
        relation = self.rng.choice(RELATIONS)
        entity, value = self.makers[relation.entity](), self.makers[relation.value]()
        return _filled(entity, value, "", relation.statements, relation.questions)

    def noun_fact(self, entity: str | None = None, noun: tuple[str, str] | None = None) -> Fact:
        """A fact of the form "the `noun` of `entity`"; `noun` is (value shape, noun)."""
        shape, relation = noun or self.noun()
        about = (
            entity
            or self.makers[self.rng.choice(["name", "name", "identifier", "code", "title"])]()
        )
        return _filled(about, self.makers[shape](), relation, NOUN_STATEMENTS, NOUN_QUESTIONS)

    def inverse_fact(self, noun: str | None = None) -> Fact:
        """A fact asked from its description: which code says this?"""
        shape = self.rng.choice(["code", "code", "number", "identifier"])
        about = self.makers[self.rng.choice(["title", "title", "phrase", "sentence"])]().rstrip(".")
        relation = noun or self.rng.choice(INVERSE_NOUNS)
        return _filled(about, self.makers[shape](), relation, INVERSE_STATEMENTS, INVERSE_QUESTIONS)

    def noun(self) -> tuple[str, str]:
        """A relation noun with the shape of its value: a common one, or made of real words."""
        shape = self.rng.choice(list(NOUNS))
        if self.rng.random() < 0.5:
            return shape, self.rng.choice(NOUNS[shape])
        return shape, self.phrase(1, 2)

    def proper(self) -> str:
        """An invented proper name of two or three syllables."""
        count = self.rng.choice([2, 2, 3])
        parts = [self.rng.choice(_ONSETS) + self.rng.choice(_VOWELS) for _ in range(count)]
        return ("".join(parts) + self.rng.choice(_CODAS)).capitalize()

    def name(self) -> str:
        """A name with or without a title word, as people, places and things have."""
        draw = self.rng.random()
        if draw < 0.6:
            return self.proper()
        if draw < 0.8:
            return f"{self.proper()} {self.proper()}"
        return (
            f"the {self.phrase(1, 1)} of {self.proper()}"
            if draw < 0.9
            else self.phrase(2, 3).title()
        )

    def number(self) -> str:
        """One to six digits, short ones more often."""
        return str(self.rng.randint(0, 10 ** self.rng.choice([1, 2, 3, 3, 4, 5, 6]) - 1))

    def phrase(self, least: int, most: int) -> str:
        """`least` to `most` real lower-case words: drawn freely, or a piece of a real sentence."""
        if self.rng.random() < 0.4:
            words = re.findall(r"[\w-]+", self.rng.choice(self.words.sentences))
            start = self.rng.randrange(max(1, len(words) - least + 1))
            return " ".join(words[start : start + self.rng.randint(least, most)]).lower()
        return " ".join(
            self.rng.choice(self.words.plain) for _ in range(self.rng.randint(least, most))
        )

    def code(self) -> str:
        """A code such as ERR_42, K7-119, EBARNU, SIGTOV, 431 or U+2C1F."""
        letters = "".join(
            self.rng.choice("ABCDEFGHIKLMNOPRSTUVWXYZ") for _ in range(self.rng.randint(1, 5))
        )
        digits = str(self.rng.randint(0, 999))
        word = self.rng.choice(self.words.plain).upper()
        return self.rng.choice(
            [
                *(f"{letters}_{digits}", f"{letters}-{digits}", f"E{letters}", f"SIG{letters}"),
                *(word, f"{word}_{letters}", str(self.rng.randint(100, 999))),
                *(f"U+{self.rng.randint(0x1000, 0xFFFF):04X}", f"E{word[:5]}"),
            ]
        )

    def identifier(self) -> str:
        """A name in code: CamelCase, snake_case, dotted, or with call brackets."""
        words = self.phrase(1, 3).split()
        words = [part for word in words if (part := "".join(c for c in word if c.isalpha()))] or [
            "item"
        ]
        camel = "".join(word.capitalize() for word in words)
        return self.rng.choice(
            [
                camel + self.rng.choice(_ENDINGS),
                camel + "Error",
                "_".join(words),
                ".".join(words),
                "_".join(words) + "()",
            ]
        )


def _filled(
    entity: str, value: str, relation: str, statements: tuple[str, ...], questions: tuple[str, ...]
) -> Fact:
    def fill(template: str) -> str:
        text = template.replace("{e}", entity).replace("{r}", relation).replace("{v}", value)
        text = text.replace("..", ".").replace(".?", "?")
        return text[0].upper() + text[1:] if template[0] != "{" else text

    return Fact(
        entity, value, tuple(fill(t) for t in statements), tuple(fill(t) for t in questions)
    )
