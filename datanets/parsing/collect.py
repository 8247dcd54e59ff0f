"""Reads one upload from an open file, format by format, and writes its rows in the normal form.

Runs only inside the sandbox child. Every row that is read is either written or listed as bad.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from datanets.parsing import marks, pdf_text, strict_json, word_text
from datanets.parsing.plain_text import read_paragraphs
from datanets.parsing.result import (
    BadRow,
    BadValueError,
    Limits,
    MappingNeededError,
    NeedsMapping,
    Report,
    Row,
    UploadRejectedError,
    too_large,
    wrong_content,
)
from datanets.parsing.row_lines import encode_row
from datanets.parsing.shapes import NOT_RECOGNISED, Normaliser
from datanets.parsing.sniff import HEAD_BYTES, Detected, office, sniff
from datanets.parsing.tables import RawRow, read_delimited, read_parquet
from datanets.parsing.text_lines import ByteSource, place, read_characters, read_lines
from datanets.parsing.zip_entries import Entry, EntryReader, list_entries, ratio_too_high, shown

_UNRECOGNISED_BEFORE_ASKING = 1_000
_PROGRESS_ROWS = 500
_COPY_BYTES = 256 * 1024


def charge(report: Report, limits: Limits, size_bytes: int, entry: str) -> None:
    """Adds to what the upload has unpacked to, and stops it at the limit."""
    report.unpacked_bytes += size_bytes
    if report.unpacked_bytes > limits.unpacked_bytes:
        limit = f"{limits.unpacked_bytes:,} bytes"
        raise too_large(
            "unpacked_too_large",
            f"The upload unpacks to more than {limit}.",
            where=f'entry "{shown(entry)}"' if entry else f"row {report.rows_read + 1}",
            limit=f"{limit} unpacked",
            remedy="Split it into several uploads.",
        )


@dataclass(slots=True)
class CountedSource:
    """Counts the bytes that come out of a source against the unpacked budget of the upload."""

    source: ByteSource
    limits: Limits
    report: Report
    head: bytes = b""
    entry: Entry | None = None
    count: int = 0

    def peek(self) -> bytes:
        """The first HEAD_BYTES, which later reads will give again."""
        while len(self.head) < HEAD_BYTES and (data := self._read(HEAD_BYTES - len(self.head))):
            self.head += data
        return self.head

    def read(self, size: int, /) -> bytes:
        if self.head:
            data, self.head = self.head[:size], self.head[size:]
            return data
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = self.source.read(size)
        self.count += len(data)
        charge(self.report, self.limits, len(data), self.entry.name if self.entry else "")
        if self.entry and self.count > max(
            self.limits.archive_ratio_floor_bytes,
            self.limits.archive_ratio * self.entry.packed_bytes,
        ):
            raise ratio_too_high(self.entry, self.limits)
        return data


@dataclass(slots=True)
class Collector:
    """Holds the limits that run over all files of one upload, and what came out so far."""

    limits: Limits
    rows_out: IO[bytes]
    scratch: IO[bytes]
    mapping: Mapping[str, str] | None = None
    on_progress: Callable[[Report], None] | None = None
    report: Report = field(default_factory=Report)

    def collect(self, file: IO[bytes], filename: str) -> Report:
        """Raises UploadRejectedError or MappingNeededError for the upload as a whole."""
        source = CountedSource(file, self.limits, self.report)
        head = source.peek()
        if not head:
            raise wrong_content(
                "empty_file",
                "The file is empty: it has 0 bytes.",
                where="byte 0",
                remedy="Choose a file with at least one row.",
            )
        detected = sniff(head, filename)
        self.report.format, self.report.format_found_by = detected.format, detected.found_by
        if detected.format in ("zip", "docx"):
            self._collect_zip(file, detected)
        elif detected.format in ("parquet", "pdf"):
            self._collect_rows(self._seekable_rows(file, detected, ""), "")
        else:
            self._collect_rows(_text_rows(source, detected, self.limits, ""), "")
        self._refuse_nothing()
        return self.report

    def _collect_zip(self, file: IO[bytes], detected: Detected) -> None:
        entries = list_entries(file, self.limits)
        self.report.unpacked_bytes = 0
        if detected.format == "docx" or _is_office(entries):
            self.report.format = "docx"
            self._collect_rows(self._word_rows(file, entries, ""), "")
            return
        for entry in entries:
            if entry.name.endswith(".c2pa"):
                self._refuse_marked(file, entry, "the C2PA manifest", entry.name)
            elif not _is_clutter(entry.name):
                self._collect_entry(file, entry)

    def _collect_entry(self, file: IO[bytes], entry: Entry) -> None:
        name = entry.name
        source = CountedSource(EntryReader(file, entry), self.limits, self.report, entry=entry)
        head = source.peek()
        if not head:
            return
        detected = sniff(head, name, name)
        if detected.format == "zip":
            raise wrong_content(
                "archive_in_archive",
                f'entry "{shown(name)}" is a zip inside the zip.',
                where=f'entry "{shown(name)}"',
                remedy="Put the files themselves into one zip.",
            )
        if detected.format in ("parquet", "pdf", "docx"):
            rows = self._seekable_rows(self._spool(source), detected, name)
        else:
            rows = _text_rows(source, detected, self.limits, name)
        self._collect_rows(rows, name)

    def _refuse_marked(self, file: IO[bytes], part: Entry, what: str, entry: str) -> None:
        source = CountedSource(EntryReader(file, part), self.limits, self.report, entry=part)
        marks.refuse_marked_metadata(marks.read_metadata(source), what=what, entry=entry)

    def _seekable_rows(self, file: IO[bytes], detected: Detected, entry: str) -> Iterator[RawRow]:
        def charge_bytes(size_bytes: int) -> None:
            charge(self.report, self.limits, size_bytes, entry)

        if detected.format == "docx":
            return self._word_rows(file, list_entries(file, self.limits), entry)
        if detected.format == "pdf":
            return pdf_text.read_pdf(file, self.limits, entry, charge_bytes)
        return read_parquet(file, self.limits, entry, self.mapping, charge_bytes)

    def _word_rows(self, file: IO[bytes], entries: list[Entry], entry: str) -> Iterator[RawRow]:
        part = word_text.main_part(entries)
        if part is None:
            raise office("Such Office", entry)
        for about in entries:
            if word_text.is_about_document(about):
                self._refuse_marked(file, about, f"its properties ({shown(about.name)})", entry)
        source = CountedSource(EntryReader(file, part), self.limits, self.report, entry=part)
        return word_text.read_paragraphs(source, self.limits, entry)

    def _spool(self, source: ByteSource) -> IO[bytes]:
        """What is read from its end, as an entry of a zip: unpacked to nameless scratch space."""
        self.scratch.seek(0)
        self.scratch.truncate()
        while data := source.read(_COPY_BYTES):
            self.scratch.write(data)
        self.scratch.seek(0)
        return self.scratch

    def _collect_rows(self, raw_rows: Iterable[RawRow], entry: str) -> None:
        report = self.report
        normaliser = Normaliser(self.limits, self.mapping)
        accepted_before = report.rows_accepted
        unknown = _UnknownColumns(entry)
        for number, raw in enumerate(raw_rows, start=1):
            report.rows_read += 1
            if report.rows_read > self.limits.rows:
                raise self._too_many_rows(number, entry)
            try:
                if isinstance(raw, BadValueError):
                    raise raw
                if isinstance(raw, dict):
                    marks.refuse_marked_row(raw, number, entry)
                row = normaliser.row(raw, number, entry)
            except BadValueError as bad:
                self._refuse(bad, number, entry)
                if bad.cause == NOT_RECOGNISED and isinstance(raw, dict):
                    unknown.add(raw)
            else:
                self._write(row)
            nothing_yet = report.rows_accepted == accepted_before
            if nothing_yet and unknown.rows >= _UNRECOGNISED_BEFORE_ASKING:
                break
            if self.on_progress and report.rows_read % _PROGRESS_ROWS == 0:
                self.on_progress(report)
        if unknown.rows and report.rows_accepted == accepted_before:
            raise MappingNeededError(unknown.question())
        ignored = set(report.ignored_columns) | normaliser.ignored_columns
        report.ignored_columns = sorted(ignored)[:100]

    def _refuse(self, bad: BadValueError, number: int, entry: str) -> None:
        self.report.rows_rejected += 1
        if len(self.report.bad_rows) < self.limits.bad_rows_listed:
            column = bad.column[:200]
            self.report.bad_rows.append(BadRow(number, column, bad.cause, bad.remedy, entry))

    def _write(self, row: Row) -> None:
        data = encode_row(row)
        self.report.output_bytes += len(data)
        if self.report.output_bytes > self.limits.output_bytes:
            limit = f"{self.limits.output_bytes:,} bytes of rows"
            raise too_large(
                "rows_too_large",
                f"The rows take more than {limit}.",
                where=place(row.entry, f"row {row.number}"),
                limit=limit,
                remedy="Split the file into several uploads.",
            )
        self.rows_out.write(data)
        self.report.rows_accepted += 1
        self.report.kinds[row.kind] = self.report.kinds.get(row.kind, 0) + 1

    def _too_many_rows(self, number: int, entry: str) -> UploadRejectedError:
        limit = f"{self.limits.rows:,} rows"
        return too_large(
            "too_many_rows",
            f"The upload has more than {limit}.",
            where=place(entry, f"row {number}"),
            limit=limit,
            remedy="Split it into several uploads.",
        )

    def _refuse_nothing(self) -> None:
        report = self.report
        if report.rows_accepted:
            return
        if not report.rows_read:
            raise wrong_content(
                "no_rows",
                "The file has no rows, only a header or blank space.",
                where="the whole file",
                remedy="Add at least one row below the header.",
            )
        first = report.bad_rows[0]
        where = place(first.entry, f"row {first.row}")
        column = f', column "{first.column}"' if first.column else ""
        raise wrong_content(
            "no_usable_row",
            f"None of the {report.rows_read:,} rows can be used. "
            f"The first problem, in {where}{column}: {first.cause}.",
            where=where,
            remedy=first.remedy,
        )


@dataclass(slots=True)
class _UnknownColumns:
    """Gathers the question for the mapping page: which columns, with a few cells of each."""

    entry: str
    rows: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    sample: list[dict[str, str]] = field(default_factory=list)

    def add(self, raw: Mapping[str, object]) -> None:
        self.rows += 1
        for name in raw:
            if len(self.columns) < 200:
                self.columns[name[:200]] = None
        if len(self.sample) < 3:
            cells = list(raw.items())[:200]
            self.sample.append({name[:200]: _shown_cell(cell) for name, cell in cells})

    def question(self) -> NeedsMapping:
        return NeedsMapping(tuple(self.columns), tuple(self.sample), self.entry)


def _shown_cell(cell: object) -> str:
    text = "" if cell is None else str(cell)[:200]
    return text.encode("utf-8", errors="replace").decode("utf-8").replace("\x00", "?")


def _is_office(entries: list[Entry]) -> bool:
    return any(entry.name == "[Content_Types].xml" for entry in entries)


def _is_clutter(name: str) -> bool:
    """Files that macOS and Windows put into every zip."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in (".DS_Store", "Thumbs.db")


def _text_rows(
    source: CountedSource, detected: Detected, limits: Limits, entry: str
) -> Iterator[RawRow]:
    kind = detected.format
    if kind in ("csv", "tsv"):
        return read_delimited(source, limits, entry, tabs=kind == "tsv")
    if kind == "json":
        return _json_values(source, limits, entry, inside_array=True)
    if kind == "json objects":
        return _json_values(source, limits, entry, inside_array=False)
    if kind == "jsonl":
        return _json_lines(source, limits, entry)
    marks.refuse_marked_head(source.peek(), entry)
    return read_paragraphs(source, limits, entry)


def _json_lines(source: ByteSource, limits: Limits, entry: str) -> Iterator[RawRow]:
    for line in read_lines(source, limits.line_bytes, entry):
        text = line.text.strip(" \t\r\n")
        if text:
            yield _json_value(text, limits)


def _json_values(
    source: ByteSource, limits: Limits, entry: str, *, inside_array: bool
) -> Iterator[RawRow]:
    splitter = strict_json.ValueSplitter(limits, entry, inside_array=inside_array)
    for text in splitter.split(read_characters(source, entry)):
        yield _json_value(text, limits)


def _json_value(text: str, limits: Limits) -> RawRow:
    try:
        value: RawRow = strict_json.loads(text, limits)
    except BadValueError as bad:
        return bad
    return value
