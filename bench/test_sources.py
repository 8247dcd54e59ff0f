"""The benchmark of sources tells a row about a question from a row that shares its common words."""

from __future__ import annotations

from bench.sources import _has_source
from modelfactory.attribution.lexical import LexicalIndex

BIRDS = ("tern", "wren", "owl", "gull", "crow", "swan")
TEXTS = [f"Q: What is known about the {bird}? A: It is bird {n}." for n, bird in enumerate(BIRDS)]


def test_a_row_is_found_as_asked_and_not_found_once_it_is_gone() -> None:
    index, rest = LexicalIndex.from_texts(TEXTS), LexicalIndex.from_texts(TEXTS[1:])
    assert _has_source(index, TEXTS, "What is known about the tern?")
    assert not _has_source(rest, TEXTS[1:], "What is known about the tern?")
    assert not _has_source(index, TEXTS, "What do trains cost?")
