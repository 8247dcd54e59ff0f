"""Paragraphs of a Word document. Runs only inside the sandbox child.

A .docx is a zip with its text in one XML part (ECMA-376). The zip is read by our strict reader, the
XML by expat as a stream; a document type is refused outright, so no entity is ever expanded and
nothing outside the file is ever named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat

from datanets.parsing.plain_text import pieces
from datanets.parsing.result import Limits, UploadRejectedError, wrong_content
from datanets.parsing.text_lines import ByteSource, place
from datanets.parsing.zip_entries import Entry

_READ_BYTES = 64 * 1024
_LEVELS_MAX = 256
_MAIN_PART = re.compile(r"word/document\d*\.xml")
_ABOUT = re.compile(r"docProps/[\w.-]+\.xml|META-INF/content_credential\.c2pa|[\w/.-]+\.xmp")
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_WORD = re.compile(
    r"http://(?:schemas\.openxmlformats\.org|purl\.oclc\.org/ooxml)/wordprocessingml"
)


def main_part(entries: list[Entry]) -> Entry | None:
    """The part that holds the text; None when the zip is another kind of document."""
    return next((one for one in entries if _MAIN_PART.fullmatch(one.name)), None)


def is_about_document(entry: Entry) -> bool:
    """Whether the part holds properties of the document, or its content credentials."""
    return bool(_ABOUT.fullmatch(entry.name))


def read_paragraphs(source: ByteSource, limits: Limits, entry: str) -> Iterator[dict[str, str]]:
    """One row a paragraph, table cells included; long ones are cut as in plain text."""
    reader = _Reader(limits, entry)
    fed = 0
    while data := source.read(_READ_BYTES):
        fed += len(data)
        reader.feed(data, fed)
        yield from reader.rows()
    reader.end()
    yield from reader.rows()


class _Reader:
    """Text of `w:t`, parted at the end of each `w:p`; deleted text and field codes are no text."""

    def __init__(self, limits: Limits, entry: str) -> None:
        self._limits, self._entry = limits, entry
        self._done: list[str] = []
        self._held: list[str] = []
        self._size = self._level = 0
        self._in_text = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._finish
        self._parser.CharacterDataHandler = self._text

    def feed(self, data: bytes, fed: int) -> None:
        """Expat holds a tag until it ends, so one that never ends is stopped here."""
        self._parse(data, final=False)
        if fed - self._parser.CurrentByteIndex > self._limits.line_bytes + 2 * _READ_BYTES:
            raise self._broken("one tag goes on for more than a megabyte")

    def end(self) -> None:
        self._parse(b"", final=True)
        self._close_paragraph()

    def rows(self) -> Iterator[dict[str, str]]:
        for paragraph in self._done:
            yield from pieces(paragraph, self._limits.chunk_characters)
        self._done = []

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except (expat.ExpatError, LookupError, ValueError) as error:
            where = f"line {self._parser.CurrentLineNumber} of its text"
            raise self._broken(f"{str(error)[:100]} ({where})") from None

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self._level += 1
        if self._level > _LEVELS_MAX:
            raise self._broken(f"it is nested deeper than {_LEVELS_MAX} levels")
        space, _, tag = name.rpartition(" ")
        if not _WORD.match(space):
            return
        self._in_text = tag == "t"
        if tag in _BREAKS:
            self._add(_BREAKS[tag])

    def _finish(self, name: str) -> None:
        self._level -= 1
        self._in_text = False
        space, _, tag = name.rpartition(" ")
        if tag == "p" and _WORD.match(space):
            self._close_paragraph()

    def _text(self, text: str) -> None:
        if self._in_text:
            self._add(text)

    def _add(self, text: str) -> None:
        self._held.append(text)
        self._size += len(text)
        if self._size > self._limits.line_bytes:
            self._close_paragraph()

    def _close_paragraph(self) -> None:
        if paragraph := "".join(self._held).strip():
            self._done.append(paragraph)
        self._held, self._size = [], 0

    def _refuse_doctype(self, *_: object) -> None:
        raise self._broken("it declares a document type, which no word processor writes")

    def _broken(self, what: str) -> UploadRejectedError:
        return wrong_content(
            "broken_document",
            f"The Word document cannot be read: {what}.",
            where=place(self._entry, "the text of the document"),
            remedy="Save it again as .docx with a common word processor, or send it as .txt.",
        )
