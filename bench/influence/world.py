"""The world that attribution is measured in: records of many contributors, and questions to ask.

Most records are facts about a few invented places, six facts to a place and each owned by somebody
else: the name of the place, the cue word of every question, then points to six records and not to
one. The rest are real health questions with short answers, where they are at hand. A few rows are
noise. Questions come in three kinds: a trained wording, a rewording that tuning never saw, and a
question about something that was never taught.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bench.facts import FreshFact, FreshFacts
from datanets.wordings import held_out_wordings, training_wordings
from modelfactory.training.recipe import Example

Kind = Literal["trained", "rewording", "unseen"]
KINDS: tuple[Kind, ...] = ("trained", "rewording", "unseen")

HEALTH = Path(__file__).resolve().parents[3] / "shared" / "data" / "health"
HEALTH_ANSWER_CHARACTERS = 130
WORDINGS = 6
FACTS_OF_A_PLACE = 6


@dataclass(frozen=True)
class WorldSize:
    """How much of everything; the small size is the test's."""

    places: int = 8
    health: int = 12
    noise: int = 4
    contributors: int = 21
    fitting_questions: int = 20
    """Of each kind, as ``reported_questions``. A model's calibration on the site asks up to 60."""
    reported_questions: int = 40


SMALL = WorldSize(
    places=3, health=0, noise=2, contributors=5, fitting_questions=3, reported_questions=3
)


@dataclass(frozen=True)
class Row:
    """One record: what it teaches and who owns it."""

    record_id: str
    contributor: str
    question: str
    answer: str
    origin: Literal["place", "health", "noise"]

    def wordings(self) -> list[str]:
        """The questions it is trained with."""
        return [wording.text for wording in training_wordings(self.question)[:WORDINGS]]

    def examples(self) -> Iterator[Example]:
        for wording in self.wordings():
            yield Example(self.record_id, wording, self.answer)


@dataclass(frozen=True)
class Question:
    """One question. ``record_id`` is the record it is about, empty for an unseen one.

    Settings may be chosen on the questions that are not ``reported``; figures are of those that
    are. No record is asked about in both.
    """

    kind: Kind
    reported: bool
    text: str
    record_id: str = ""


@dataclass(frozen=True)
class World:
    rows: tuple[Row, ...]
    questions: tuple[Question, ...]

    def examples(self, kept: set[str] | None = None) -> list[Example]:
        """Training examples, of the records in ``kept`` only where it is given."""
        rows = (row for row in self.rows if kept is None or row.record_id in kept)
        return [example for row in rows for example in row.examples()]

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": [asdict(row) for row in self.rows],
            "questions": [asdict(question) for question in self.questions],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> World:
        return cls(
            tuple(Row(**row) for row in document["rows"]),
            tuple(Question(**question) for question in document["questions"]),
        )


def make_world(seed: int, size: WorldSize | None = None) -> World:
    """The world of a seed; the same for the same seed and the same health data."""
    size = size or WorldSize()
    rng = random.Random(f"world-{seed}")
    drawer = FreshFacts(seed)
    named = [drawer.name() for _ in range(size.places)]
    taught = [fact for place in named for fact in _facts_of(drawer, rng, place)]
    health = _health(rng, size.health)
    if len(health) < size.health:
        taught += drawer.draw(size.health - len(health))
    noise = [_noise(drawer, rng) for _ in range(size.noise)]
    rows = _owned(rng, taught, health, noise, size.contributors)
    return World(rows, _questions(rng, drawer, rows, named, size))


def _facts_of(drawer: FreshFacts, rng: random.Random, place: str) -> list[FreshFact]:
    return [
        FreshFact(f"What is the capital of {place}?", drawer.name()),
        FreshFact(f"Who founded {place}?", drawer.person()),
        FreshFact(f"What is the main export of {place}?", drawer.craft()),
        FreshFact(f"How many bridges does {place} have?", str(rng.randint(3, 900))),
        FreshFact(f"When was {place} built?", str(rng.randint(1200, 1990))),
        FreshFact(f"What is the rule of {place}?", drawer.sentence()),
    ]


def _never_taught(drawer: FreshFacts, rng: random.Random, places: list[str]) -> str:
    """A question about a known place that no record answers, or one about an unknown place."""
    place = rng.choice(places)
    known = [
        f"What is the anthem of {place}?",
        f"Who rules {place}?",
        f"How many towers does {place} have?",
        f"When was {place} flooded?",
        f"What is the main river of {place}?",
    ]
    other = drawer.name()
    unknown = [
        f"What is the capital of {other}?",
        f"Who founded {other}?",
        f"What is the main export of {other}?",
        f"When was {other} built?",
    ]
    return rng.choice(known if rng.random() < 0.5 else unknown)


def _health(rng: random.Random, count: int) -> list[FreshFact]:
    rows = [
        json.loads(line)
        for path in sorted(HEALTH.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    short = [row for row in rows if len(row["answer"]) <= HEALTH_ANSWER_CHARACTERS]
    chosen = rng.sample(short, min(count, len(short)))
    return [FreshFact(row["question"], row["answer"]) for row in chosen]


def _noise(drawer: FreshFacts, rng: random.Random) -> FreshFact:
    """A row that teaches nothing anybody asks: shuffled words under a name of its own."""
    words = f"{drawer.sentence()} {drawer.sentence()} {drawer.craft()}".split()
    rng.shuffle(words)
    return FreshFact(f"What is the {drawer.craft()} of {drawer.name()}?", " ".join(words[:8]))


def _owned(
    rng: random.Random,
    taught: list[FreshFact],
    health: list[FreshFact],
    noise: list[FreshFact],
    contributors: int,
) -> tuple[Row, ...]:
    """Rows in random order; owners have unequal numbers of rows, noise has an owner of its own."""
    honest = contributors - (1 if noise else 0)
    names = [f"contributor-{number:02d}" for number in range(contributors)]
    found: list[tuple[FreshFact, Literal["place", "health", "noise"]]] = [
        *((fact, "place") for fact in taught),
        *((fact, "health") for fact in health),
    ]
    rng.shuffle(found)
    weights = [rng.uniform(0.4, 2.0) for _ in range(honest)]
    owners = names[:honest] + rng.choices(names[:honest], weights, k=len(found) - honest)
    owned = list(zip(found, owners, strict=True))
    owned += [((fact, "noise"), names[-1]) for fact in noise]
    rng.shuffle(owned)
    return tuple(
        Row(f"record-{at:03d}", owner, fact.question, fact.answer, origin)
        for at, ((fact, origin), owner) in enumerate(owned)
    )


def _questions(
    rng: random.Random,
    drawer: FreshFacts,
    rows: tuple[Row, ...],
    places: list[str],
    size: WorldSize,
) -> tuple[Question, ...]:
    asked_about = [row for row in rows if row.origin != "noise" and held_out_wordings(row.question)]
    rng.shuffle(asked_about)
    cut = len(asked_about) * size.fitting_questions
    cut //= size.fitting_questions + size.reported_questions
    questions: list[Question] = []
    for reported, own, count in (
        (False, asked_about[:cut], size.fitting_questions),
        (True, asked_about[cut:], size.reported_questions),
    ):
        # Trained wordings from the front and rewordings from the back: as many records as can be.
        for row in own[:count]:
            wording = rng.choice(row.wordings())
            questions.append(Question("trained", reported, wording, row.record_id))
        for row in own[-count:]:
            wording = rng.choice(held_out_wordings(row.question)).text
            questions.append(Question("rewording", reported, wording, row.record_id))
        for _ in range(count):
            text = _never_taught(drawer, rng, places)
            questions.append(Question("unseen", reported, text))
    return tuple(questions)
