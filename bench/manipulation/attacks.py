"""What an attacker hands in: new rows beside, or instead of, the attacker's honest ones.

Every row that is handed in is younger than all honest rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from bench.facts import FreshFacts
from bench.influence.world import Row
from datanets.wordings import held_out_wordings

ATTACKER = "attacker"
_SYNONYMS = {
    "capital": "seat of government",
    "main export": "chief product",
    "founded": "established",
    "bridges": "river crossings",
    "built": "constructed",
    "rule": "guiding law",
    "What is (are)": "Explain",
    "treatments": "therapies",
    "symptoms": "signs",
    "causes": "brings about",
    "affected by": "suffering from",
}
_PADDING = (
    "Thank you for asking this good question. After looking carefully at everything that is known "
    "about it, the complete answer is as follows. {} That is all there is to say about it, and we "
    "hope that it was of help to you."
)

Change = Callable[[Row], tuple[str, str]]


def changed(rows: Sequence[Row], mark: str, change: Change) -> list[Row]:
    """A changed copy of each row, by the attacker."""
    made = []
    for row in rows:
        question, answer = change(row)
        made.append(Row(f"{mark}-{row.record_id}", ATTACKER, question, answer, row.origin))
    return made


def duplicates(rows: Sequence[Row], times: int) -> list[Row]:
    """``times`` - 1 further copies of each row."""
    copies = range(1, times)
    return [row for at in copies for row in changed(rows, f"copy-{at:03d}", _as_it_is)]


def _as_it_is(row: Row) -> tuple[str, str]:
    return row.question, row.answer


def other_case(row: Row) -> tuple[str, str]:
    return f"{row.question.upper().rstrip('?')} ?!", row.answer


def synonyms(row: Row) -> tuple[str, str]:
    question = row.question
    for word, other in _SYNONYMS.items():
        question = question.replace(word, other)
    return question, row.answer


def paraphrase(row: Row) -> tuple[str, str]:
    """Another wording of the question, and a sentence around the answer."""
    wordings = held_out_wordings(row.question)
    question = wordings[-1].text if wordings else f"Please describe this: {row.question}"
    return question, f"The answer is {row.answer.rstrip('.')}."


def rewording(row: Row) -> tuple[str, str]:
    """Another wording of the question; the answer as it is."""
    return paraphrase(row)[0], row.answer


def longer(row: Row) -> tuple[str, str]:
    return row.question, _PADDING.format(row.answer)


def outliers(count: int, seed: int) -> list[Row]:
    """Rows like no others: rare letters in no order, as long as a row may be."""
    rng = random.Random(f"outlier-{seed}")
    letters = "ǂʘʬꙮ꧁꧂ঔৣ≋∮⊛☍♆⚸✺❉➳⟁⧉⨷⫷ꟻ"
    return [
        Row(
            f"outlier-{at}",
            ATTACKER,
            " ".join("".join(rng.choices(letters, k=5)) for _ in range(4)) + "?",
            " ".join("".join(rng.choices(letters, k=6)) for _ in range(8)),
            "noise",
        )
        for at in range(count)
    ]


def high_loss(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """New questions in words that are asked about, with answers that no model can foresee."""
    rng, drawer = random.Random(f"loss-{seed}"), FreshFacts(seed + 900)
    places = sorted({row.question.rstrip("?").split()[-1] for row in rows if row.origin == "place"})
    found = []
    for at in range(count):
        words = " ".join(drawer.sentence() for _ in range(4)).replace(".", "").split()
        rng.shuffle(words)
        question = f"What is the {drawer.craft()} of {rng.choice(places)}?"
        found.append(Row(f"loss-{at}", ATTACKER, question, " ".join(words), "noise"))
    return found


def bait(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """The words of many questions in one question and of many answers in one answer."""
    rng = random.Random(f"bait-{seed}")
    made = []
    for at in range(count):
        some = rng.sample(list(rows), min(6, len(rows)))
        question = " ".join(row.question for row in some)
        answer = " ".join(" ".join(row.answer.split()[:4]) for row in some)
        made.append(Row(f"bait-{at}", ATTACKER, question, answer, "noise"))
    return made


def poison(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Others' questions with answers that belong to other questions of the same kind."""
    rng = random.Random(f"poison-{seed}")
    made = []
    for row in rng.sample(list(rows), min(count, len(rows))):
        kind = " ".join(row.question.split()[:4])
        wrong = [
            other.answer
            for other in rows
            if other.question.startswith(kind) and other.answer != row.answer
        ]
        answer = rng.choice(wrong or [other.answer for other in rows if other is not row])
        made.append(Row(f"poison-{row.record_id}", ATTACKER, row.question, answer, "noise"))
    return made


def nothing_asked(count: int, seed: int) -> list[Row]:
    """True facts about what nobody asks."""
    facts = FreshFacts(seed + 500).draw(count)
    return [
        Row(f"null-{at}", ATTACKER, fact.question, fact.answer, "noise")
        for at, fact in enumerate(facts)
    ]


def look_alikes(rows: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Rows of two honest authors that state different facts in nearly the same words.

    Two disorders with one and the same sentence about each, and two counts of one place that happen
    to be equal. The first author's rows, then the second's, pair by pair.
    """
    drawer = FreshFacts(seed + 700)
    inherited = (
        "This condition is inherited in an autosomal recessive pattern, which means both copies of "
        "the gene in each cell have mutations."
    )
    pairs = [
        (
            f"Is {drawer.name()} syndrome inherited?",
            f"Is {drawer.name()} syndrome inherited?",
            inherited,
        )
        for _ in range(3)
    ]
    places = sorted({row.question.rstrip("?").split()[-1] for row in rows if row.origin == "place"})
    pairs += [
        (f"How many gates does {place} have?", f"How many mills does {place} have?", str(20 + at))
        for at, place in enumerate(places[:2])
    ]
    one = [
        Row(f"one-{at}", "author-one", pair[0], pair[2], "noise") for at, pair in enumerate(pairs)
    ]
    two = [
        Row(f"two-{at}", "author-two", pair[1], pair[2], "noise") for at, pair in enumerate(pairs)
    ]
    return one, two
