"""Verbatim spans: which words of an answer stand in trained rows exactly as they were answered.

The rule is OLMoTrace's (Liu et al. 2025), at our scale: maximal spans of whole words inside one
sentence, found by a suffix array over the rows' words, the rarest kept, each with a few rows in the
order of BM25. Verbatim means the same words and signs in the same order and case; only the white
space between them may differ.

A match is a fact about words. It says nothing about what the model learnt from whom, misses every
paraphrase, and pays nobody.

All in memory: nothing here writes text anywhere.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydivsufsort import divsufsort

from modelfactory.attribution.calibration import MICRO
from modelfactory.attribution.lexical import LexicalIndex

BREAK = 0
"""The id of a sentence's or a row's end: no span contains it."""
WORD_BYTES = 120
"""What a word of the vocabulary takes, roughly: a dictionary entry, a string, a list item."""

# Scripts written without spaces count each sign as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(
    rf"(?P<word>[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:[.,'\u2019-][^\W{_UNSPACED}]+)*)"
    r"|(?P<end>[.!?\u2026\u3002\uff01\uff1f]+|[\n\r\u2028\u2029])"
    r"|[^\w\s]"
)

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class TooMuchTextError(Exception):
    """The rows hold more words than may be kept in memory."""


@dataclass(frozen=True)
class SpanRules:
    """What counts. Words are whole words; signs between them are matched and not counted."""

    words_minimum: int = 4
    kept_minimum: int = 3
    kept_percent: int = 5
    """At most this share of the answer's words, rounded up, is kept as spans (OLMoTrace's 0.05·L),
    but never fewer than ``kept_minimum``."""
    rows_listed: int = 10
    common_rows: int = 10
    common_percent: int = 1
    """In more rows than either bound a span is boilerplate, and dropped."""

    def kept(self, answer_words: int) -> int:
        return max(self.kept_minimum, -(-answer_words * self.kept_percent // 100))

    def rows_maximum(self, rows: int) -> int:
        return max(self.common_rows, rows * self.common_percent // 100)


@dataclass(frozen=True)
class Span:
    """``start`` and ``end`` are characters of the answer; ``rows`` counts the rows that hold it,
    ``record_ids`` names the best of them first. ``rarity_micro_nats`` is minus the log-probability
    of its words, each by itself, among all words of the rows.
    """

    start: int
    end: int
    words: int
    rows: int
    record_ids: tuple[str, ...]
    rarity_micro_nats: int


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    is_word: bool
    is_break: bool


@dataclass(frozen=True)
class _Match:
    """Tokens [first, last) of the answer stand at the suffixes [low, high)."""

    first: int
    last: int
    low: int
    high: int


def tokens_of(text: str) -> Iterator[_Token]:
    """Words, signs and sentence ends of a text, in order."""
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        yield _Token(found[0], found.start(), found.end(), kind == "word", kind == "end")


class SpanIndex:
    """The words of rows, and the suffix array over them."""

    def __init__(
        self, rows: Iterable[tuple[str, str]], *, words_maximum: int | None = None
    ) -> None:
        """``rows`` are (record id, text). Raises ``TooMuchTextError`` above ``words_maximum``."""
        self.record_ids: list[str] = []
        self._known: dict[str, int] = {}
        starts: list[int] = []
        ids: list[int] = []
        for record_id, text in rows:
            self.record_ids.append(record_id)
            starts.append(len(ids))
            ids.extend(self._ids_of(text))
            ids.append(BREAK)
            if words_maximum is not None and len(ids) > words_maximum:
                raise TooMuchTextError(f"more than {words_maximum} words")
        self._words = ["", *self._known]
        self._ids: Int32 = np.array(ids, dtype=np.int32)
        self._starts: Int64 = np.array(starts, dtype=np.int64)
        self._counts: Int64 = np.bincount(self._ids, minlength=len(self._words))
        self._suffixes: Int32 = divsufsort(self._ids.view(np.uint32)) if ids else self._ids

    def _ids_of(self, text: str) -> Iterator[int]:
        for found in _TOKEN.finditer(text):
            if found.lastgroup == "end":
                yield BREAK
            else:
                yield self._known.setdefault(found[0], len(self._known) + 1)

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory, about."""
        arrays = self._ids.nbytes + self._suffixes.nbytes + self._starts.nbytes
        return arrays + WORD_BYTES * (len(self._words) + len(self.record_ids))

    def find(self, answer: str, question: str = "", rules: SpanRules | None = None) -> list[Span]:
        """The kept spans of ``answer``, in its order; rows that also fit ``question`` first."""
        rules = rules or SpanRules()
        tokens = list(tokens_of(answer))
        ids = [BREAK if token.is_break else self._known.get(token.text, -1) for token in tokens]
        asked = f"{question} {answer}"
        spans = [
            span
            for match in self._maximal(tokens, ids)
            if (span := self._span(tokens, ids, match, asked, rules)) is not None
        ]
        spans.sort(key=lambda span: (-span.rarity_micro_nats, span.start))
        kept = rules.kept(sum(token.is_word for token in tokens))
        return sorted(spans[:kept], key=lambda span: span.start)

    def _maximal(self, tokens: Sequence[_Token], ids: Sequence[int]) -> Iterator[_Match]:
        """Spans from word to word that no longer one contains."""
        reached = 0
        for first, token in enumerate(tokens):
            if not token.is_word:
                continue
            match = self._longest(tokens, ids, first)
            if match.last > reached:
                reached = match.last
                yield match

    def _longest(self, tokens: Sequence[_Token], ids: Sequence[int], first: int) -> _Match:
        """The longest match from ``first`` that ends with a word; empty when there is none."""
        best, low, high = _Match(first, first, 0, 0), 0, len(self._suffixes)
        for at in range(first, len(ids)):
            if ids[at] <= BREAK:
                break
            low, high = self._narrow(low, high, at - first, ids[at])
            if low == high:
                break
            if tokens[at].is_word:
                best = _Match(first, at + 1, low, high)
        return best

    def _narrow(self, low: int, high: int, depth: int, wanted: int) -> tuple[int, int]:
        """Of the suffixes [low, high), alike in ``depth`` ids, those that go on with ``wanted``."""

        def following(place: int) -> int:
            return int(self._ids[self._suffixes[place] + depth])

        places = range(low, high)
        return (
            low + bisect_left(places, wanted, key=following),
            low + bisect_right(places, wanted, key=following),
        )

    def _span(
        self,
        tokens: Sequence[_Token],
        ids: Sequence[int],
        match: _Match,
        asked: str,
        rules: SpanRules,
    ) -> Span | None:
        inside = range(match.first, match.last)
        word_count = sum(tokens[at].is_word for at in inside)
        if word_count < rules.words_minimum:
            return None
        rows = self._rows_of(match)
        if len(rows) > rules.rows_maximum(len(self.record_ids)):
            return None
        counts = self._counts[[ids[at] for at in inside]]
        rarity = float(np.log(len(self._ids) / counts).sum())
        return Span(
            start=tokens[match.first].start,
            end=tokens[match.last - 1].end,
            words=word_count,
            rows=len(rows),
            record_ids=tuple(self._best(rows, asked)[: rules.rows_listed]),
            rarity_micro_nats=round(rarity * MICRO),
        )

    def _rows_of(self, match: _Match) -> list[int]:
        """The rows that hold a match, in their order."""
        places = self._suffixes[match.low : match.high]
        found = np.unique(np.searchsorted(self._starts, places, side="right") - 1)
        return [int(row) for row in found]

    def _best(self, rows: Sequence[int], asked: str) -> list[str]:
        """Record ids, the rows most like question and answer first (BM25 among these rows)."""
        if len(rows) > 1:
            scores = LexicalIndex.from_texts([self._text(row) for row in rows]).scores(asked)
            rows = [rows[int(at)] for at in np.argsort(-scores, kind="stable")]
        return [self.record_ids[row] for row in rows]

    def _text(self, row: int) -> str:
        """The words of a row; a sentence's end is left out."""
        ends = [*self._starts[row + 1 : row + 2], len(self._ids)]
        return " ".join(self._words[at] for at in self._ids[self._starts[row] : ends[0]])
