"""Raw rows out of delimited text and parquet. Runs only inside the sandbox child."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from datanets.parsing.marks import MARKED_COLUMNS, refuse_marked_metadata
from datanets.parsing.result import (
    BadValueError,
    Limits,
    UploadRejectedError,
    too_large,
    wrong_content,
)
from datanets.parsing.shapes import ROLES_OF_KIND, recognise
from datanets.parsing.sniff import guess_delimiter
from datanets.parsing.text_lines import ByteSource, Line, place, read_lines

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

RawRow = dict[str, Any] | BadValueError
"""A row by column name, or why this one row could not be taken apart."""

PARQUET_BATCH_ROWS = 64


def _too_many_columns(count: int, limits: Limits, where: str) -> UploadRejectedError:
    return too_large(
        "too_many_columns",
        f"There are {count:,} columns; at most {limits.columns:,} are read.",
        where=where,
        limit=f"{limits.columns:,} columns",
        remedy="Keep only the columns that hold the question and the answer.",
    )


def _column_names(cells: list[str], limits: Limits, where: str) -> list[str]:
    if len(cells) > limits.columns:
        raise _too_many_columns(len(cells), limits, where)
    names = [cell.strip() or f"column {at}" for at, cell in enumerate(cells, start=1)]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)[:80]
        raise wrong_content(
            "duplicate_columns",
            f'The column "{twice}" appears more than once in the header.',
            where=where,
            remedy="Give every column its own name.",
        )
    return names


class _RecordLines:
    """Feeds lines to `csv.reader` and stops a record that an unclosed quote makes endless."""

    def __init__(self, lines: Iterator[Line], limits: Limits, entry: str) -> None:
        self._lines, self._limit, self._entry = lines, limits.line_bytes, entry
        self._record_bytes = 0
        self.record_line = 1

    def start_record(self) -> None:
        self._record_bytes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if self._record_bytes == 0:
            self.record_line = line.number
        self._record_bytes += line.size_bytes
        if self._record_bytes > self._limit:
            where = place(self._entry, f"line {self.record_line}")
            raise too_large(
                "record_too_long",
                f"The row that starts on line {self.record_line} is longer than "
                f"{self._limit:,} bytes; perhaps a quote there is never closed.",
                where=where,
                limit=f"{self._limit:,} bytes a row",
                remedy="Close the quote, or split the text over several rows.",
            )
        return line.text


def read_delimited(
    source: ByteSource, limits: Limits, entry: str, *, tabs: bool
) -> Iterator[RawRow]:
    """Rows of a csv or tsv file with a header (RFC 4180; `;`, tab and `|` are found as well)."""
    csv.field_size_limit(limits.cell_characters)
    lines = read_lines(source, limits.line_bytes, entry)
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        return
    delimiter = "\t" if tabs else guess_delimiter(first.text)
    records = _RecordLines(_chain(first, lines), limits, entry)
    reader = csv.reader(records, delimiter=delimiter, strict=True)
    where = place(entry, f"the header, line {first.number}")
    names: list[str] | None = None
    while True:
        records.start_record()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if names is None:
                raise _broken_header(error, where) from None
            yield _broken_record(error, records.record_line, limits, entry)
            continue
        if cells is None:
            return
        if names is None:
            names = _column_names(cells, limits, where)
        elif cells:
            yield _named(names, cells, records.record_line)


def _chain(first: Line, rest: Iterable[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _broken_header(error: csv.Error, where: str) -> UploadRejectedError:
    return wrong_content(
        "broken_header",
        f"The header cannot be read: {error}.",
        where=where,
        remedy="Check the quotes in the first line.",
    )


def _broken_record(error: csv.Error, line: int, limits: Limits, entry: str) -> BadValueError:
    message = str(error)
    if "unexpected end" in message:
        where = place(entry, f"line {line}")
        raise wrong_content(
            "quote_not_closed",
            f"A quote that opens in the row on line {line} is never closed.",
            where=where,
            remedy='Close it, or write a quote inside a text as two quotes ("").',
        )
    if "field limit" in message:
        cause = f"line {line}: a cell has more than {limits.cell_characters:,} characters"
        return BadValueError("", cause, "Shorten it, or close the quote that makes it so long.")
    cause = f"line {line}: {message}"
    return BadValueError("", cause, 'Write a quote inside a text as two quotes ("").')


def _named(names: list[str], cells: list[str], line: int) -> RawRow:
    if len(cells) != len(names):
        cause = f"line {line}: it has {len(cells)} cells, the header has {len(names)}"
        return BadValueError("", cause, "Put texts with the separator inside into quotes.")
    nul = next((name for name, cell in zip(names, cells, strict=True) if "\x00" in cell), None)
    if nul is not None:
        cause = f"line {line}: it contains a NUL character"
        return BadValueError(nul[:200], cause, "Remove that character.")
    return dict(zip(names, cells, strict=True))


def read_parquet(
    file: IO[bytes],
    limits: Limits,
    entry: str,
    mapping: Mapping[str, str] | None,
    charge_bytes: Callable[[int], None],
) -> Iterator[RawRow]:
    """Rows of a parquet file, a few at a time. Columns that are not needed are never decoded.

    `charge_bytes` is told what each step unfolds to: the footer's own figures cannot be believed.
    """
    import pyarrow as pa

    done = 0
    try:
        parquet = _open_parquet(file, limits, entry)
        unread = dict.fromkeys(parquet.schema_arrow.names)
        columns = _wanted_columns(parquet.schema_arrow, mapping)
        for batch in _batches(file, parquet, columns):
            charge_bytes(_other_bytes(batch))
            for cells in zip(*map(_cells, batch.columns), strict=True):
                charge_bytes(sum(len(cell) for cell in cells if isinstance(cell, str)))
                yield unread | dict(zip(batch.schema.names, cells, strict=True))
                done += 1
    except MemoryError:
        raise
    except UnicodeDecodeError:
        raise _broken_parquet("a text is not UTF-8", done, entry) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0][:200]
        raise _broken_parquet(reason, done, entry) from None


def _batches(
    file: IO[bytes], parquet: pq.ParquetFile, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Texts as they are, a quarter of the time of dictionaries; those when memory does not do.

    A value that a tiny file repeats is unfolded for one batch; as a dictionary it stays one value
    with many references, however large.
    """
    import pyarrow as pa

    done = 0
    try:
        for batch in parquet.iter_batches(PARQUET_BATCH_ROWS, columns=columns, use_threads=False):
            yield batch
            done += batch.num_rows
        return
    except pa.ArrowMemoryError:
        pass
    folded = _parquet_file(file, folded=_texts(parquet.schema_arrow))
    for batch in folded.iter_batches(PARQUET_BATCH_ROWS, columns=columns, use_threads=False):
        new = batch.slice(min(done, batch.num_rows))
        done -= batch.num_rows - new.num_rows
        if new.num_rows:
            yield new


def _cells(column: pa.Array) -> Iterable[Any]:
    """Texts at once, but one after the other where that could fail: a text that is no UTF-8 is met
    in its row, not in the first of its batch, and a dictionary may repeat a large one.
    """
    if _is_plain_text(column.type):
        with suppress(UnicodeDecodeError, MemoryError):
            return column.to_pylist()  # type: ignore[no-any-return] # untyped
    return (value.as_py() for value in column)


def _other_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of the columns that are not text: texts are charged row by row, as they are used."""
    return sum(column.nbytes for column in batch.columns if not _is_string(column.type))


def _broken_parquet(reason: str, done: int, entry: str) -> UploadRejectedError:
    where = place(entry, f"after row {done}" if done else "its directory or first page")
    return wrong_content(
        "cannot_be_decoded",
        f"The parquet file cannot be decoded ({where}): {reason}",
        where=where,
        remedy="It may be cut short or damaged: write it again and upload it once more.",
    )


def _open_parquet(file: IO[bytes], limits: Limits, entry: str) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    _check_footer(file, limits, entry)
    schema = pq.read_schema(file)
    refuse_marked_metadata(_said_of_itself(schema), what="the metadata of its schema", entry=entry)
    names = schema.names
    parquet = _parquet_file(file)
    metadata, where = parquet.metadata, place(entry, "its directory")
    if metadata.num_columns > limits.columns:
        raise _too_many_columns(metadata.num_columns, limits, where)
    _column_names(names, limits, where)
    for count, limit, what in (
        (metadata.num_rows, limits.rows, "rows"),
        (metadata.num_row_groups, limits.parquet_row_groups, "row groups"),
    ):
        if count > limit:
            raise too_large(
                f"too_many_{what.replace(' ', '_')}",
                f"The parquet file says it has {count:,} {what}; at most {limit:,} are read.",
                where=where,
                limit=f"{limit:,} {what}",
                remedy="Split it into several uploads.",
            )
    return parquet


def _parquet_file(file: IO[bytes], folded: Iterable[str] = ()) -> pq.ParquetFile:
    """`folded` names the columns whose values stay in a dictionary."""
    import pyarrow.parquet as pq

    file.seek(0)
    return pq.ParquetFile(
        file, pre_buffer=False, buffer_size=64 * 1024, read_dictionary=list(folded)
    )


def _texts(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_string(field.type)]


def _said_of_itself(schema: pa.Schema) -> bytes:
    """The free metadata of the schema and of its columns, a line a key; the rest is Arrow's own."""
    kept = [schema.metadata, *(field.metadata for field in schema)]
    return b"\n".join(key + b"=" + value for one in kept for key, value in (one or {}).items())


def _check_footer(file: IO[bytes], limits: Limits, entry: str) -> None:
    """The last 8 bytes: footer size and magic. The C++ reader never sees a footer we refuse."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    if size < 12 or tail[4:] != b"PAR1":
        raise _broken_parquet("the end mark PAR1 is missing, so it was cut short", 0, entry)
    footer = int.from_bytes(tail[:4], "little")
    if footer > size - 12:
        raise _broken_parquet("its directory claims to be larger than the file", 0, entry)
    if footer > limits.parquet_footer_bytes:
        limit = f"{limits.parquet_footer_bytes:,} bytes of directory"
        raise too_large(
            "directory_too_large",
            f"The parquet directory has {footer:,} bytes, above {limit}.",
            where=place(entry, "its directory"),
            limit=limit,
            remedy="Write the file with fewer columns and row groups.",
        )
    file.seek(0)


def _wanted_columns(schema: pa.Schema, mapping: Mapping[str, str] | None) -> list[str]:
    shape = recognise(schema.names, mapping)
    if shape is None:  # only for the sample on the mapping page
        return _texts(schema)[:50] or schema.names[:1]
    roles = ROLES_OF_KIND[shape.kind]
    wanted = [column for role, column in shape.columns.items() if role in roles]
    return wanted + [name for name in schema.names if name in MARKED_COLUMNS]


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return _is_plain_text(kind.value_type if types.is_dictionary(kind) else kind)


def _is_plain_text(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))
