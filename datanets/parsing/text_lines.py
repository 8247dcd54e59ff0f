"""UTF-8 lines out of a byte stream in constant memory, with the place of every fault."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from datanets.parsing.result import UploadRejectedError, too_large, wrong_content

CHUNK_BYTES = 64 * 1024


class ByteSource(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its ending, its number from 1 and the offset of its first byte."""

    text: str
    number: int
    first_byte: int
    size_bytes: int


def place(entry: str, where: str) -> str:
    return f'entry "{entry}", {where}' if entry else where


def _not_utf8(error: UnicodeDecodeError, line: int, byte: int, entry: str) -> UploadRejectedError:
    wrong = error.object[error.start]
    return wrong_content(
        "not_utf8",
        f"The text is not UTF-8: byte {byte} (0x{wrong:02x}) on line {line} does not fit.",
        where=place(entry, f"line {line}, byte {byte}"),
        remedy="Save the file as UTF-8 and upload it again.",
    )


def _line_too_long(line: int, byte: int, limit_bytes: int, entry: str) -> UploadRejectedError:
    return too_large(
        "line_too_long",
        f"Line {line}, which starts at byte {byte}, is longer than {limit_bytes:,} bytes.",
        where=place(entry, f"line {line}, byte {byte}"),
        limit=f"{limit_bytes:,} bytes a line",
        remedy="Put each row on its own line, or split long texts over several rows.",
    )


def read_raw_lines(source: ByteSource, limit_bytes: int, entry: str) -> Iterator[bytes]:
    """Lines with their endings; LF, CRLF and a lone CR all end a line."""
    carry = b""
    line_number, first_byte = 1, 0
    while chunk := source.read(CHUNK_BYTES):
        lines = (carry + chunk).splitlines(keepends=True)
        # The last piece may go on in the next chunk; so may a CR whose LF has not arrived yet.
        carry = lines.pop() if not lines[-1].endswith(b"\n") else b""
        for line in lines:
            if len(line) > limit_bytes:
                raise _line_too_long(line_number, first_byte, limit_bytes, entry)
            yield line
            line_number += 1
            first_byte += len(line)
        if len(carry) > limit_bytes:
            raise _line_too_long(line_number, first_byte, limit_bytes, entry)
    if carry:
        yield carry


def read_lines(source: ByteSource, limit_bytes: int, entry: str = "") -> Iterator[Line]:
    """Decoded lines, byte order mark dropped. Raises UploadRejectedError at the first bad byte."""
    first_byte = 0
    for number, raw in enumerate(read_raw_lines(source, limit_bytes, entry), start=1):
        size_bytes = len(raw)
        if number == 1 and raw.startswith(codecs.BOM_UTF8):
            raw = raw[3:]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            offset = first_byte + (size_bytes - len(raw)) + error.start
            raise _not_utf8(error, number, offset, entry) from None
        yield Line(text, number, first_byte, size_bytes)
        first_byte += size_bytes


def read_characters(
    source: ByteSource, entry: str, on_chunk: Callable[[int], None] | None = None
) -> Iterator[str]:
    """Decoded pieces of a stream that has no lines (a JSON array); same UTF-8 rules."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, lines_done, first = 0, 0, True
    while True:
        chunk = source.read(CHUNK_BYTES)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line = lines_done + error.object[: error.start].count(b"\n") + 1
            raise _not_utf8(error, line, offset - pending + error.start, entry) from None
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        if text:
            yield text
        if not chunk:
            return
        offset += len(chunk)
        lines_done += text.count("\n")
        if on_chunk:
            on_chunk(offset)
