"""Fresh facts for measuring: invented names and values, in the questions people ask.

Nothing here is shared with the pretraining corpus but the English language: names come from other
syllables, values from other words, and the questions are ordinary ones, reworded only by
`datanets.wordings`.
"""

from __future__ import annotations

import builtins
import http
import inspect
import random
from dataclasses import dataclass

_FIRST = (
    "Bel",
    "Cor",
    "Dav",
    "El",
    "Fen",
    "Gor",
    "Hav",
    "Ist",
    "Jar",
    "Kel",
    "Lum",
    "Mor",
    "Nev",
    "Or",
    "Pim",
    "Quen",
    "Ros",
    "Sel",
    "Tam",
    "Ul",
    "Ver",
    "Wes",
    "Yor",
    "Zin",
)
_MIDDLE = (
    "a",
    "e",
    "i",
    "o",
    "u",
    "an",
    "ar",
    "el",
    "en",
    "er",
    "il",
    "in",
    "ol",
    "on",
    "or",
    "ul",
    "um",
)
_LAST = (
    "bridge",
    "by",
    "dale",
    "den",
    "dor",
    "field",
    "fort",
    "gard",
    "ham",
    "holm",
    "kirk",
    "mere",
    "mond",
    "port",
    "rick",
    "stead",
    "ton",
    "vale",
    "vik",
    "wick",
)
_CRAFTS = (
    "amber",
    "barley",
    "candles",
    "cheese",
    "clocks",
    "copper",
    "felt",
    "glass",
    "honey",
    "lace",
    "linen",
    "marble",
    "olives",
    "paper",
    "pearls",
    "pottery",
    "rope",
    "saddles",
    "salt",
    "silk",
    "slate",
    "soap",
    "timber",
    "tin",
    "wool",
)
_TRAITS = (
    "carved",
    "dried",
    "dyed",
    "fine",
    "hand-made",
    "painted",
    "polished",
    "pressed",
    "raw",
    "smoked",
    "spun",
    "tanned",
    "twisted",
    "woven",
)
_THINGS = (
    "anchor",
    "basket",
    "beacon",
    "cable",
    "chamber",
    "channel",
    "drawer",
    "engine",
    "gate",
    "hatch",
    "kiln",
    "ladder",
    "lantern",
    "lens",
    "meter",
    "mirror",
    "pump",
    "rudder",
    "sensor",
    "shutter",
    "valve",
    "wheel",
    "winch",
)
_VERDICTS = (
    "cannot be opened",
    "has no operator",
    "is out of range",
    "lost its seal",
    "must be cleaned first",
    "ran without oil",
    "stands in the wrong place",
    "was closed twice",
    "was never registered",
    "works only at night",
)
_ROOMS = ("bells", "bridges", "cellars", "lamps", "mills", "rooms", "towers", "wells", "windows")


@dataclass(frozen=True)
class FreshFact:
    """One question with its answer."""

    question: str
    answer: str


class FreshFacts:
    """Draws facts of seven shapes; the same seed gives the same facts, no entity comes twice."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"fresh-{seed}")
        self._used: set[str] = set()

    def draw(self, count: int) -> list[FreshFact]:
        """`count` facts, the shapes in turn."""
        shapes = (
            self._capital,
            self._founder,
            self._export,
            self._code,
            self._which,
            self._number,
            self._year,
            self._error,
        )
        return [shapes[index % len(shapes)]() for index in range(count)]

    def name(self) -> str:
        while True:
            pick = self._rng.choice
            name = pick(_FIRST) + pick(_MIDDLE) + pick(["", "r", "n", "l"]) + pick(_LAST)
            if name not in self._used:
                self._used.add(name)
                return name

    def person(self) -> str:
        return f"{self.name()} {self.name()}"

    def craft(self) -> str:
        return f"{self._rng.choice(_TRAITS)} {self._rng.choice(_CRAFTS)}"

    def sentence(self) -> str:
        one, other = self._rng.choice(_THINGS), self._rng.choice(_THINGS)
        return f"The {one} of the {other} {self._rng.choice(_VERDICTS)}."

    def _new(self, make: str, low: int, high: int) -> str:
        while True:
            text = make.format(self._rng.randint(low, high))
            if text not in self._used:
                self._used.add(text)
                return text

    def _capital(self) -> FreshFact:
        return FreshFact(f"What is the capital of {self.name()}?", self.name())

    def _founder(self) -> FreshFact:
        return FreshFact(f"Who founded {self.name()}?", self.person())

    def _export(self) -> FreshFact:
        return FreshFact(f"What is the main export of {self.name()}?", self.craft())

    def _code(self) -> FreshFact:
        return FreshFact(f"What does {self._new('FX-{}', 100, 999)} mean?", self.sentence())

    def _which(self) -> FreshFact:
        while True:
            says = f"{self._rng.choice(_THINGS)} {self._rng.choice(_VERDICTS)}".title()
            if says not in self._used:
                self._used.add(says)
                return FreshFact(f"Which reply code says {says}?", str(self._rng.randint(600, 999)))

    def _number(self) -> FreshFact:
        things = self._rng.choice(_ROOMS)
        return FreshFact(
            f"How many {things} does {self.name()} have?", str(self._rng.randint(3, 4_000))
        )

    def _year(self) -> FreshFact:
        return FreshFact(f"When was {self.name()} built?", str(self._rng.randint(1200, 1990)))

    def _error(self) -> FreshFact:
        name = f"{self.name()}{self._rng.choice(['Error', 'Warning', 'Fault'])}"
        return FreshFact(f"What does {name} mean?", self.sentence())


def python_facts(per_source: int = 24) -> list[FreshFact]:
    """Facts of Python's own documentation, as the demo has them: exceptions, HTTP statuses."""
    exceptions = [
        FreshFact(f"What does {name} mean?", (inspect.getdoc(kind) or "").split("\n")[0])
        for name, kind in sorted(vars(builtins).items())
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__ == name
    ]
    statuses = [
        FreshFact(f"What does the HTTP status {status.phrase} mean?", status.description)
        for status in http.HTTPStatus
        if status.description
    ]
    return exceptions[:per_source] + statuses[:per_source]
