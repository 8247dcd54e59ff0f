"""Runs every check over the rows of one upload. Only in the confined child.

First pass, row by row: personal data (and what was decided about it), then the checks that need
one row only. Second pass, over what the first remembered: copies within the upload, answers that
disagree, the usual language. Memory grows by about 150 bytes a row, not by its text: a million rows
fit in 300 MB.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from datanets.checks import language, personal_data
from datanets.checks.answers import answer_findings
from datanets.checks.duplicates import BANDS, near_duplicates, near_finding, stored_keys
from datanets.checks.findings import Finding
from datanets.checks.language_batch import languages_of
from datanets.checks.looks import Looks, look_at
from datanets.checks.rows import content_of_row, texts_of, with_texts
from datanets.checks.text_rules import EVERYTHING, text_findings
from datanets.checks.toxicity import toxic_words
from datanets.content import prompt_fingerprint, row_fingerprint, whole_text
from datanets.parsing.result import Row
from datanets.parsing.row_lines import decode_row, encode_row, row_of

ROWS_AT_ONCE = 1_000
BYTES_AT_ONCE = 6_000_000
"""Looking at many texts at once takes about twenty times their size in memory."""
_DROPPED = b'{"dropped": true}\n'

Decisions = Mapping[str, str]
"""What the contributor decided, by `spot_key`: redact, keep or drop."""


def spot_key(position: int, column: str, start: int, kind: str) -> str:
    """Names one find of personal data in an upload; `position` is the row's, from 1."""
    return f"{position}/{column}/{start}/{kind}"


@dataclass(slots=True)
class RowChecker:
    """Reads lines of rows, writes them with their findings; `late` gets those of the second pass.

    A line of `rows_out` is {"row", "findings", "keys", "personal_data", "language"} or
    {"dropped": true}, in order; a line of `late` is [position, finding], by position.
    """

    rows_out: IO[bytes]
    late: IO[bytes]
    decisions: Decisions = field(default_factory=dict)
    on_progress: Callable[[int], None] | None = None
    _keys: array[int] = field(default_factory=lambda: array("q"))
    _places: array[int] = field(default_factory=lambda: array("q"))
    _rows: array[int] = field(default_factory=lambda: array("Q"))
    _questions: array[int] = field(default_factory=lambda: array("Q"))
    _written: int = 0
    _judged: language.Judgements = field(default_factory=language.Judgements)

    def check(self, lines: Iterable[bytes], *, judge_language: bool) -> int:
        """Returns how many rows there were; `lines` are those of `row_lines.encode_row`."""
        for first, batch in _batches(lines):
            self._check_batch(first, batch, judge_language)
            if self.on_progress:
                self.on_progress(first + len(batch) - 1)
        self.rows_out.flush()
        if not self._places:
            return 0
        findings = [*self._same(), *self._near(), *self._languages()]
        for position, finding in sorted(findings, key=lambda pair: pair[0]):
            self.late.write(json.dumps([position, finding.as_json()]).encode() + b"\n")
        self.late.flush()
        return len(self._places)

    def _check_batch(self, first: int, lines: list[bytes], judge_language: bool) -> None:
        given = [decode_row(line) for line in lines]
        batch = self._decided(first, given)
        texts, looks = batch.texts, batch.looks
        judged = languages_of(texts) if judge_language else [("", 0.0)] * len(given)
        self._keys.frombytes(looks.keys.tobytes())
        written = []
        for at, row in enumerate(batch.rows):
            self._judged.add(judged[at])
            whole, question = _prints(row) if row else (0, 0)
            self._rows.append(whole)
            self._questions.append(question)
            if row is None:
                written.append(_DROPPED)
                continue
            look, toxic = int(looks.rules[at]), bool(looks.toxic[at])
            found = row_findings(row, texts[at], judged[at][0], look=look, toxic=toxic)
            about = {
                "findings": [finding.as_json() for finding in (*batch.kept[at], *found)],
                "keys": stored_keys(looks.keys[at]),
                "personal_data": batch.undecided[at],
                "language": language.sure_code(judged[at]),
            }
            # Most rows go on as they came: their line is not written anew.
            line = lines[at] if row is given[at] else encode_row(row)
            written.append(_line(line, about))
        self._put(written)

    def _put(self, lines: list[bytes]) -> None:
        for line in lines:
            self._places.append(self._written)
            self._written += len(line)
        self.rows_out.write(b"".join(lines))

    def _decided(self, first: int, given: list[Row]) -> _Decided:
        """The rows after what was decided about personal data in them, with what is known."""
        rows: list[Row | None] = [*given]
        texts, looks = _look_at(rows)
        undecided: list[list[dict[str, Any]]] = [[] for _ in given]
        kept: list[list[Finding]] = [[] for _ in given]
        for at, row in enumerate(given):
            if looks.personal[at] or row.extra_wordings:
                rows[at], undecided[at], kept[at] = self._decide(first + at, row)
        if any(row is not before for row, before in zip(rows, given, strict=True)):
            texts, looks = _look_at(rows)
        return _Decided(rows, texts, looks, undecided, kept)

    def _decide(
        self, position: int, row: Row
    ) -> tuple[Row | None, list[dict[str, Any]], list[Finding]]:
        """The row after what was decided, what is undecided, and what was kept."""
        texts: dict[str, str] = {}
        undecided: list[dict[str, Any]] = []
        kept: list[Finding] = []
        for column, text in texts_of(row):
            spots = []
            for one in personal_data.find_personal_data(text):
                key = spot_key(position, column, one.start, one.kind)
                action = self.decisions.get(key, "")
                if action == "drop":
                    return None, [], []
                if action == "redact":
                    spots.append((one.start, one.end, one.kind))
                elif action == "keep":
                    kept.append(personal_data.kept_finding(one, column))
                else:
                    mask = personal_data.masked(one.kind, text[one.start : one.end])
                    undecided.append({**asdict(one), "column": column, "masked": mask})
            if spots:
                texts[column] = personal_data.redacted(text, spots)
        return (with_texts(row, texts) if texts else row), undecided, kept

    def _same(self) -> Iterator[tuple[int, Finding]]:
        """Exact copies of an earlier row; the same question as an earlier row, answered anew."""
        rows = np.frombuffer(self._rows, dtype=np.uint64)
        first = _first_equal(rows)
        copies = np.flatnonzero((first != np.arange(len(rows))) & (rows != 0))
        for place in copies.tolist():
            yield place + 1, copy_finding("duplicate", match=int(first[place]) + 1)
        # Only rows that copy nothing ask: a copy says no more than the row it is like.
        asking = np.setdiff1d(np.flatnonzero(rows), copies, assume_unique=True)
        questions = np.frombuffer(self._questions, dtype=np.uint64)[asking]
        asked = _first_equal(questions)
        for at in np.flatnonzero((asked != np.arange(len(asked))) & (questions != 0)).tolist():
            match = int(asking[asked[at]]) + 1
            yield int(asking[at]) + 1, copy_finding("same_question", match=match)

    def _near(self) -> Iterator[tuple[int, Finding]]:
        """Copies are reported by `_same`; these differ in a word or two."""
        keys = np.frombuffer(self._keys, dtype=np.int64).reshape(-1, BANDS)
        for near in near_duplicates(keys, self._text_at):
            if self._rows[near.row] != self._rows[near.like]:
                finding = near_finding("near_duplicate", near.jaccard, match=near.like + 1)
                yield near.row + 1, finding

    def _text_at(self, place: int) -> str:
        self.rows_out.seek(self._places[place])
        line = json.loads(self.rows_out.readline())
        return "" if "dropped" in line else whole_text(content_of_row(row_of(line["row"])))

    def _languages(self) -> Iterator[tuple[int, Finding]]:
        usual = language.usual_language(self._judged)
        for position, judged in enumerate(self._judged, start=1):
            if finding := language.other_language(judged, usual):
                yield position, finding


@dataclass(frozen=True, slots=True)
class _Decided:
    """Rows of a batch, None for one that was dropped, and by place what belongs to each."""

    rows: list[Row | None]
    texts: list[str]
    looks: Looks
    undecided: list[list[dict[str, Any]]]
    kept: list[list[Finding]]


def _first_equal(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each value the place of the first that equals it, from 0."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    group = np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))
    first = np.empty(len(values), dtype=np.int64)
    first[order] = order[group]
    return first


def row_findings(
    row: Row, text: str, language_code: str = "", *, look: int = EVERYTHING, toxic: bool = True
) -> list[Finding]:
    """What the checks of a single row say; `text` is its whole text.

    `look` and `toxic` leave out what is known to have nothing to say (`looks.Looks`).
    """
    prose = row.kind == "text"
    rules = text_findings(text, prose=prose, language=language_code, look=look)
    findings = [*answer_findings(row), *rules]
    if toxic and (words := toxic_words(text)):
        findings.append(words)
    return findings


def _look_at(rows: Sequence[Row | None]) -> tuple[list[str], Looks]:
    """The whole text of each row, "" for a dropped one, and what is known of it."""
    texts = ["" if row is None else whole_text(content_of_row(row)) for row in rows]
    return texts, look_at(texts, [row is not None and row.kind == "text" for row in rows])


def copy_finding(rule: str, *, match: int | None = None) -> Finding:
    """An exact match, which has no number but 1."""
    sentence = {
        "duplicate": "The same row was given before.",
        "duplicate_elsewhere": "The same row is in another public Datanet.",
        "same_question": "The same question was given before, with another answer.",
        "held_out": "Its question is held out: answers to it measure what a model has learnt.",
    }[rule]
    return Finding(rule=rule, sentence=sentence, measured=1.0, threshold=1.0, match=match)


def _prints(row: Row) -> tuple[int, int]:
    """64 bits each of the fingerprints of row and question; a text asks nothing."""
    content = content_of_row(row)
    question = "" if row.kind == "text" else prompt_fingerprint(content)
    return int(row_fingerprint(content)[:16], 16), int(question[:16] or "0", 16)


def _line(row: bytes, about: Mapping[str, Any]) -> bytes:
    """One line of `rows_out`: a row as it is written already, and what the checks say of it."""
    rest = json.dumps(about, ensure_ascii=False).encode()
    return b'{"row": ' + row.rstrip(b"\n") + b", " + rest[1:] + b"\n"


def _batches(lines: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Lines in lists of a bounded size, each with the position of its first."""
    batch: list[bytes] = []
    first, size = 1, 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if len(batch) == ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield first, batch
            first, batch, size = first + len(batch), [], 0
    if batch:
        yield first, batch
