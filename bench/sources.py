"""How often an agent that answers only from rows errs: refuses what a row answers, or takes a row
that is about something else for a source.

Each public source of `../shared/data` in turn, with as many of its rows as `--count` says, is the
index. `asked as written` and `worded differently` are the questions of its rows (the wordings that
no training reads): the row should be found. `politely wrapped` puts the question between words that
no row has. `row removed` asks for a row that was left out, which other rows may answer in part, and
`other field` asks the questions of sources of other fields: nothing should be found.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datanets.wordings import HELD_OUT_FAMILIES, wordings
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.training.chat import record_passage

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ROWS = 200
PASSAGES_MAX = 3
WRAPPED = "Hello there, could somebody kindly help with this: {} Thank you ever so much."


def measure(count: int = ROWS) -> dict[str, Any]:
    """Figures for `docs/benchmarks/sources.json`: percents of questions that found a source."""
    fields = {path.stem: path.parent.name for path in DATA.glob("*/*.jsonl")}
    rows = {path.stem: _read(path, count) for path in sorted(DATA.glob("*/*.jsonl"))}
    found: dict[str, list[bool]] = defaultdict(list)
    for source, own in rows.items():
        texts = [record_passage(row["question"], row["answer"]) for row in own]
        index = LexicalIndex.from_texts(texts)
        for kind, question in _questions(own):
            found[kind].append(_has_source(index, texts, question))
        for other, asked in rows.items():
            if fields[other] != fields[source]:
                found["other_field"] += [
                    _has_source(index, texts, row["question"]) for row in asked[:50]
                ]
        for place in range(0, len(own), 10):
            rest = texts[:place] + texts[place + 1 :]
            without = LexicalIndex.from_texts(rest)
            found["row_removed"].append(_has_source(without, rest, own[place]["question"]))
    return {
        "rows_a_source": count,
        "sources": len(rows),
        "found_a_source_percent": {
            kind: round(100 * sum(answers) / len(answers), 1) for kind, answers in found.items()
        },
        "questions": {kind: len(answers) for kind, answers in found.items()},
    }


def _read(path: Path, count: int) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()[:count]
    return [json.loads(line) for line in lines]


def _questions(rows: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield "asked_as_written", row["question"]
        yield "politely_wrapped", WRAPPED.format(row["question"])
        for wording in wordings(row["question"]):
            if wording.family in HELD_OUT_FAMILIES:
                yield "worded_differently", wording.text


def _has_source(index: LexicalIndex, texts: list[str], question: str) -> bool:
    read = [texts[hit.position] for hit in index.retrieve(question, PASSAGES_MAX)]
    return any(index.about(question, read))
