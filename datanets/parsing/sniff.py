"""Finds the format from the first bytes and from the file name, and says which of them decided."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal

from datanets.parsing.result import UploadRejectedError, wrong_content, wrong_type
from datanets.parsing.text_lines import place

Format = Literal[
    "csv", "tsv", "json", "jsonl", "json objects", "parquet", "text", "zip", "pdf", "docx"
]

HEAD_BYTES = 4_096
WORKING_FORMATS = "csv, tsv, json, jsonl, parquet, txt, md, pdf, docx, or a zip of these"
_USE_ANOTHER = f"Send {WORKING_FORMATS}."

JSON_FORMATS: tuple[Format, ...] = ("json", "jsonl", "json objects")

EXTENSIONS: dict[str, Format] = {
    "csv": "csv", "tsv": "tsv", "tab": "tsv", "json": "json", "jsonl": "jsonl", "ndjson": "jsonl",
    "parquet": "parquet", "txt": "text", "md": "text", "markdown": "text", "zip": "zip",
    "pdf": "pdf", "docx": "docx",
}  # fmt: skip

# Formats with a mark at their start: a name without the mark is a lie.
_BY_MARK = ("parquet", "zip", "pdf", "docx")

OFFICE = {"doc": "Word", "xlsx": "Excel", "xls": "Excel", "pptx": "PowerPoint", "odt": "Writer"}

# First bytes of what people send by mistake. A pickle is never opened, whatever its name.
_FOREIGN = (
    (b"\x1f\x8b", "a gzip archive"), (b"BZh", "a bzip2 archive"), (b"7z\xbc\xaf", "a 7z archive"),
    (b"\xfd7zXZ", "an xz archive"), (b"Rar!", "a RAR archive"), (b"(\xb5/\xfd", "a zstd archive"),
    (b"\x89PNG", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"), (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"), (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document, or one with a password"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"), (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"), (b"ARROW1", "an Arrow file"), (b"OggS", "a sound file"),
)  # fmt: skip

_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detected:
    """`found_by` is a phrase for the page: the content, the file name, or both."""

    format: Format
    found_by: str


def extension_of(filename: str) -> str:
    _, dot, extension = filename.rpartition(".")
    return extension.lower()[:16] if dot else ""


def sniff(head: bytes, filename: str, entry: str = "") -> Detected:
    """`head`: the first HEAD_BYTES. Raises UploadRejectedError for what we do not read."""
    extension = extension_of(filename)
    _refuse_foreign(head, extension, entry)
    by_magic = _by_magic(head)
    by_name = EXTENSIONS.get(extension)
    if by_magic == "zip" and by_name == "docx":
        return Detected("docx", "both")
    if by_magic:
        return Detected(by_magic, "both" if by_name == by_magic else "the content")
    if by_name in _BY_MARK:
        raise wrong_content(
            "not_what_it_says",
            f"The name ends in .{extension} but the content is not {by_name}.",
            where=place(entry, "byte 0"),
            remedy="Export the file again, or give it the ending that fits its content.",
        )
    _refuse_other_encodings(head, entry)
    by_content = _by_text(head)
    if by_name is None:
        if extension in OFFICE or not _plausible_text_name(extension):
            raise wrong_type(
                "type_not_read",
                f"Files ending in .{extension} are not read.",
                where=place(entry, "the file name"),
                remedy=_USE_ANOTHER,
            )
        return Detected(by_content, "the content")
    if by_name in ("csv", "tsv") and by_content in JSON_FORMATS:
        return Detected(by_content, "the content")
    if by_name in JSON_FORMATS and by_content in JSON_FORMATS:
        return Detected(by_content, "both" if by_name == by_content else "the content")
    return Detected(by_name, "the file name")


def _plausible_text_name(extension: str) -> bool:
    return extension in ("", "data", "text", "log", "dat")


def office(kind: str, entry: str) -> UploadRejectedError:
    return wrong_type(
        "type_not_read",
        f"{kind} documents are not read.",
        where=place(entry, "the file"),
        remedy=f"Save it as .docx or .csv. What works: {WORKING_FORMATS}.",
    )


def _refuse_foreign(head: bytes, extension: str, entry: str) -> None:
    if extension in OFFICE and head[:2] == b"PK":
        raise office(OFFICE[extension], entry)
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise wrong_type(
                "type_not_read",
                f"The content is {name}, which is not read.",
                where=place(entry, "byte 0"),
                remedy=_USE_ANOTHER,
            )


def _refuse_other_encodings(head: bytes, entry: str) -> None:
    name = next((name for mark, name in _OTHER_ENCODINGS if head.startswith(mark)), "")
    if not name and len(head) >= 8 and head.count(0) * 3 > len(head):
        # Every other byte of Latin text in UTF-16 is zero.
        even, odd = head[0::2].count(0), head[1::2].count(0)
        name = "UTF-16" if max(even, odd) > 4 * min(even, odd) else ""
    if name:
        raise wrong_content(
            "not_utf8",
            f"The text is {name}, not UTF-8 (seen at byte 0).",
            where=place(entry, "line 1, byte 0"),
            remedy="Save the file as UTF-8 and upload it again.",
        )


def _by_magic(head: bytes) -> Format | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"%PDF-"):
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return None


def _by_text(head: bytes) -> Format:
    text = head.decode("utf-8", errors="ignore").removeprefix("\ufeff").lstrip()
    first = text.split("\n", 1)[0]
    if text.startswith(('{"', "{\n", "{}", "{ ", "{\r")):
        # Objects printed over several lines do not end on the line they begin on.
        return "jsonl" if "\n" not in text or first.rstrip().endswith("}") else "json objects"
    if text.startswith("[") and text[1:].lstrip()[:1] in ("{", "[", "]", ""):
        return "json"
    if "\t" in first:
        return "tsv"
    return "csv" if "," in first and first.count(",") <= first.count(" ") + 8 else "text"


def guess_delimiter(header: str) -> str:
    """The commonest of the four usual ones in the header line, comma when none is there."""
    return max(",;\t|", key=lambda delimiter: (header.count(delimiter), delimiter == ","))
