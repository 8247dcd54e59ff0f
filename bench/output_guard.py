"""How long a span has to be before other people's text holds it by chance, and what guarding costs.

Public rows of several sources (`../shared/data`): those of one source stand for the private ones,
answers of every other source are sent through the guard. Sources of one field also copy from one
another, which no length can tell from chance: what spans of 16 words still find is mostly that.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelfactory.serving.output_guard import (
    SPAN_WORDS,
    GuardFile,
    StreamGuard,
    words_of,
    write_guard,
)

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
LENGTHS = (5, 6, 7, 8, 10, 12, 16)
KEY = b"bench" * 6
Rows = list[dict[str, str]]


def measure() -> dict[str, Any]:
    """Figures for `docs/benchmarks/output_guard.json`: percents of answers and of their words."""
    sources = {path.stem: _read(path) for path in sorted(DATA.glob("*/*.jsonl"))}
    fields = {path.stem: path.parent.name for path in DATA.glob("*/*.jsonl")}
    same = {n: _Count() for n in LENGTHS}
    other = {n: _Count() for n in LENGTHS}
    for private, rows in sources.items():
        for n in LENGTHS:
            spans = {span for text in _texts(rows) for span in _spans(words_of(text), n)}
            for public, answered in sources.items():
                if public != private:
                    count = (same if fields[public] == fields[private] else other)[n]
                    for row in answered:
                        count.add(words_of(row["answer"]), spans, n)
    return {
        "span_words": SPAN_WORDS,
        "sources": {name: len(rows) for name, rows in sources.items()},
        "same_field": {str(n): count.figures() for n, count in same.items()},
        "another_field": {str(n): count.figures() for n, count in other.items()},
        **_cost([text for rows in sources.values() for text in _texts(rows)]),
    }


class _Count:
    """Answers and words, and how many of them a guard of these spans would withhold."""

    def __init__(self) -> None:
        self.answers = self.hit_answers = self.words = self.hit_words = 0

    def add(self, words: Sequence[str], spans: set[tuple[str, ...]], length: int) -> None:
        hit = [False] * len(words)
        for at, span in enumerate(_spans(words, length)):
            if span in spans:
                hit[at : at + length] = [True] * length
        self.answers += 1
        self.hit_answers += any(hit)
        self.words += len(words)
        self.hit_words += sum(hit)

    def figures(self) -> dict[str, float]:
        return {
            "answers": self.answers,
            "answers_percent": round(100 * self.hit_answers / self.answers, 3),
            "words_percent": round(100 * self.hit_words / self.words, 4),
        }


def _cost(texts: Sequence[str]) -> dict[str, float]:
    """Words a second, made and guarded, and bytes a word on disk; one thread."""
    words = sum(len(words_of(text)) for text in texts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "guard")
        began = time.perf_counter()
        write_guard(path, KEY, texts)
        made = time.perf_counter()
        with GuardFile(path, KEY) as guard:
            for text in texts:
                stream = StreamGuard(guard)
                for piece in text.split(" "):
                    stream.feed(f"{piece} ")
                stream.finish()
        ended = time.perf_counter()
        size = path.stat().st_size
    return {
        "made_words_per_second": round(words / (made - began)),
        "guarded_words_per_second": round(words / (ended - made)),
        "bytes_per_word": round(size / words, 2),
    }


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _texts(rows: Rows) -> list[str]:
    return [text for row in rows for text in (row["question"], row["answer"])]


def _spans(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words) - length + 1))
