"""What the checks remember of the rows of one upload, and what only all of them together show.

After the first pass over each batch (`first_pass.py`) comes the second, over what the first
remembered: copies within the upload, answers that disagree, the usual language. Only in the
confined child. Memory grows by about 200 bytes a row, not by its text.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray

from datanets.checks import language
from datanets.checks.duplicates import BANDS, PERMUTATIONS, near_duplicates, near_finding
from datanets.checks.findings import Finding
from datanets.checks.first_pass import Checked
from datanets.checks.rows import content_of_row
from datanets.content import whole_text
from datanets.parsing.row_lines import row_of


@dataclass(slots=True)
class RowChecker:
    """Writes batches of checked rows; `late` gets the findings of the second pass.

    A line of `rows_out` is {"row", "findings", "keys", "personal_data", "language"} or
    {"dropped": true}, in order; a line of `late` is [position, finding], by position.
    """

    rows_out: IO[bytes]
    late: IO[bytes]
    on_progress: Callable[[int], None] | None = None
    _keys: array[int] = field(default_factory=lambda: array("q"))
    _sketches: bytearray = field(default_factory=bytearray)
    _places: array[int] = field(default_factory=lambda: array("q"))
    _rows: array[int] = field(default_factory=lambda: array("Q"))
    _questions: array[int] = field(default_factory=lambda: array("Q"))
    _written: int = 0
    _judged: language.Judgements = field(default_factory=language.Judgements)

    def check(self, batches: Iterable[Checked]) -> int:
        """Returns how many rows there were."""
        for batch in batches:
            self._remember(batch)
            if self.on_progress:
                self.on_progress(len(self._places))
        self.rows_out.flush()
        if not self._places:
            return 0
        findings = [*self._same(), *self._near(), *self._languages()]
        for position, finding in sorted(findings, key=lambda pair: pair[0]):
            self.late.write(json.dumps([position, finding.as_json()]).encode() + b"\n")
        self.late.flush()
        return len(self._places)

    def _remember(self, batch: Checked) -> None:
        memory = batch.memory
        ends = self._written + np.cumsum(memory["size"])
        self._places.frombytes((ends - memory["size"]).tobytes())
        self._written += len(batch.lines)
        self._keys.frombytes(memory["keys"].tobytes())
        self._sketches += memory["sketch"].tobytes()
        self._rows.frombytes(memory["row"].tobytes())
        self._questions.frombytes(memory["question"].tobytes())
        codes, probabilities = memory["language"].tolist(), memory["probability"].tolist()
        for code, probability in zip(codes, probabilities, strict=True):
            self._judged.add((code.decode(), probability))
        self.rows_out.write(batch.lines)

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
        sketches = np.frombuffer(self._sketches, dtype=np.uint8).reshape(-1, PERMUTATIONS)
        for near in near_duplicates(keys, self._text_at, sketches=sketches):
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


def copy_finding(rule: str, *, match: int | None = None) -> Finding:
    """An exact match, which has no number but 1."""
    sentence = {
        "duplicate": "The same row was given before.",
        "duplicate_elsewhere": "The same row is in another public Datanet.",
        "same_question": "The same question was given before, with another answer.",
        "held_out": "Its question is held out: answers to it measure what a model has learnt.",
    }[rule]
    return Finding(rule=rule, sentence=sentence, measured=1.0, threshold=1.0, match=match)
