"""First pass: a batch of rows by itself, without memory of others. Only in the confined child.

Personal data and what was decided about it, then every check that needs one row only. What comes
out is the lines to be written and, in a record of fixed size for each, what later checks remember.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datanets.checks import language, personal_data
from datanets.checks.answers import answer_findings
from datanets.checks.duplicates import BANDS, PERMUTATIONS, stored_keys
from datanets.checks.findings import Finding
from datanets.checks.language_batch import languages_of
from datanets.checks.looks import Looks, look_at
from datanets.checks.rows import content_of_row, texts_of, with_texts
from datanets.checks.text_rules import EVERYTHING, text_findings
from datanets.checks.toxicity import toxic_words
from datanets.content import (
    plain_words,
    plain_words_of_plain_text,
    prompt_fingerprint,
    row_fingerprint,
    whole_text,
)
from datanets.parsing.result import Row
from datanets.parsing.row_lines import decode_row, encode_row

ROWS_AT_ONCE = 1_000
BYTES_AT_ONCE = 6_000_000
"""Looking at many texts at once takes about twenty times their size in memory."""
MEMORY = np.dtype(
    [
        ("size", np.int64),
        ("keys", np.int64, (BANDS,)),
        ("sketch", np.uint8, (PERMUTATIONS,)),
        ("row", np.uint64),
        ("question", np.uint64),
        ("language", "S8"),
        ("probability", np.float32),
    ]
)
"""What is remembered of a row: bytes of its line, keys, sketch, prints of row and question."""
_DROPPED = b'{"dropped": true}\n'

Decisions = Mapping[str, str]
"""What the contributor decided, by `spot_key`: redact, keep or drop."""


def spot_key(position: int, column: str, start: int, kind: str) -> str:
    """Names one find of personal data in an upload; `position` is the row's, from 1."""
    return f"{position}/{column}/{start}/{kind}"


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after the first pass: `memory` is an array of `MEMORY`, `lines` are those rows'."""

    memory: NDArray[Any]
    lines: bytes


def check_batch(
    first: int, lines: list[bytes], decisions: Decisions, *, judge_language: bool
) -> Checked:
    """Check the rows of `row_lines.encode_row`; `first` is the position, from 1, of the first."""
    given = [decode_row(line) for line in lines]
    batch = _decided(first, given, decisions)
    texts, looks = batch.texts, batch.looks
    judged = languages_of(texts) if judge_language else [("", 0.0)] * len(given)
    written, prints = [], []
    for at, row in enumerate(batch.rows):
        if row is None:
            written.append(_DROPPED)
            prints.append((0, 0))
            continue
        prints.append(_prints(row, plain_text=bool(looks.plain[at])))
        look, toxic = int(looks.rules[at]), bool(looks.toxic[at])
        found = row_findings(row, texts[at], judged[at][0], look=look, toxic=toxic)
        about = _about(
            [finding.as_json() for finding in (*batch.kept[at], *found)],
            stored_keys(looks.keys[at]),
            batch.undecided[at],
            language.sure_code(judged[at]),
        )
        # Most rows go on as they came: their line is not written anew.
        line = lines[at] if row is given[at] else encode_row(row)
        written.append(b'{"row": ' + line.rstrip(b"\n") + about)
    memory = np.zeros(len(given), dtype=MEMORY)
    memory["row"] = [row for row, _ in prints]
    memory["question"] = [question for _, question in prints]
    memory["size"] = [len(line) for line in written]
    memory["keys"] = looks.keys
    memory["sketch"] = looks.sketches
    memory["language"] = [code for code, _ in judged]
    memory["probability"] = [probability for _, probability in judged]
    return Checked(memory, b"".join(written))


def batches(lines: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
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


@dataclass(frozen=True, slots=True)
class _Decided:
    """Rows of a batch, None for one that was dropped, and by place what belongs to each."""

    rows: list[Row | None]
    texts: list[str]
    looks: Looks
    undecided: list[list[dict[str, Any]]]
    kept: list[list[Finding]]


def _decided(first: int, given: list[Row], decisions: Decisions) -> _Decided:
    """The rows after what was decided about personal data in them, with what is known."""
    rows: list[Row | None] = [*given]
    texts, looks = _look_at(rows)
    undecided: list[list[dict[str, Any]]] = [[] for _ in given]
    kept: list[list[Finding]] = [[] for _ in given]
    for at, row in enumerate(given):
        if looks.personal[at] or row.extra_wordings:
            rows[at], undecided[at], kept[at] = _decide(first + at, row, decisions)
    if any(row is not before for row, before in zip(rows, given, strict=True)):
        texts, looks = _look_at(rows)
    return _Decided(rows, texts, looks, undecided, kept)


def _decide(
    position: int, row: Row, decisions: Decisions
) -> tuple[Row | None, list[dict[str, Any]], list[Finding]]:
    """The row after what was decided, what is undecided, and what was kept."""
    texts: dict[str, str] = {}
    undecided: list[dict[str, Any]] = []
    kept: list[Finding] = []
    for column, text in texts_of(row):
        spots = []
        for one in personal_data.find_personal_data(text):
            key = spot_key(position, column, one.start, one.kind)
            action = decisions.get(key, "")
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


def _prints(row: Row, *, plain_text: bool) -> tuple[int, int]:
    """64 bits each of the fingerprints of row and question; a text asks nothing."""
    content = content_of_row(row)
    plain = plain_words_of_plain_text if plain_text else plain_words
    question = "" if row.kind == "text" else prompt_fingerprint(content, plain)
    return int(row_fingerprint(content, plain)[:16], 16), int(question[:16] or "0", 16)


def _about(
    findings: list[dict[str, Any]],
    keys: list[int],
    personal_data: list[dict[str, Any]],
    language_code: str,
) -> bytes:
    """What follows the row in its line of JSON."""
    said = json.dumps(findings, ensure_ascii=False) if findings else "[]"
    private = json.dumps(personal_data, ensure_ascii=False) if personal_data else "[]"
    # A list of integers and a language code read the same in Python and in JSON.
    return (
        f', "findings": {said}, "keys": {keys}, "personal_data": {private},'
        f' "language": "{language_code}"}}\n'
    ).encode()
