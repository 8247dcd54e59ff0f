"""Paragraphs of a PDF. Runs only inside the sandbox child.

Only the text is taken: no script, form, picture or embedded file of it is looked at. `pypdf` is
plain Python, so that a hostile file costs time and memory, which the child has little of.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from datanets.parsing.marks import refuse_marked_metadata
from datanets.parsing.plain_text import pieces
from datanets.parsing.result import Limits, UploadRejectedError, too_large, wrong_content
from datanets.parsing.text_lines import place

if TYPE_CHECKING:
    from pypdf import PdfReader

_TRAILER_BYTES = 4_096
_BLANK_LINES = re.compile(r"\n\s*\n")
# A page with a single word, to load with what pypdf imports late: after the lock nothing opens.
_REHEARSAL = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R
/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 36>>stream
BT /F 9 Tf 9 9 Td (Rehearsed) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>endobj
trailer<</Root 1 0 R/Size 6>>
startxref
0
%%EOF
"""


def load() -> None:
    """Import all that reading needs, and read a page of our own."""
    import logging

    import pypdf  # noqa: F401

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it quotes the file
    rows = list(read_pdf(io.BytesIO(_REHEARSAL), Limits(), "", lambda _: None))
    if rows != [{"text": "Rehearsed"}]:
        raise RuntimeError("The rehearsal of the PDF reader did not go through.")


def read_pdf(
    file: IO[bytes], limits: Limits, entry: str, charge_bytes: Callable[[int], None]
) -> Iterator[dict[str, str]]:
    """One row a paragraph: blank lines part them, else a page is cut at sentence ends."""
    reader = _open(file, limits, entry)
    for what, data in _said_about_itself(reader):
        charge_bytes(len(data))
        refuse_marked_metadata(data, what=what, entry=entry)
    pages = found = 0
    for number, text in _pages(reader, entry):
        pages = number
        charge_bytes(len(text))
        for paragraph in _BLANK_LINES.split(_storable(text)):
            for piece in pieces(paragraph.strip(), limits.chunk_characters):
                found += 1
                yield piece
    if not found:
        raise wrong_content(
            "no_text",
            f"None of the {pages:,} pages holds text: they are pictures, as scanners make them.",
            where=place(entry, "the pages"),
            remedy="Let a program recognise the text first (OCR), or send the text itself.",
        )


def _said_about_itself(reader: PdfReader) -> Iterator[tuple[str, bytes]]:
    """Document information, XMP, and content credentials, as far as each can be read."""
    for what, read in (
        ("its document information", _information),
        ("its XMP metadata", _xmp),
        ("its content credentials (C2PA)", _credentials),
    ):
        try:
            yield what, read(reader)
        except (UploadRejectedError, MemoryError, OSError):
            raise
        except Exception:  # noqa: S112  (pypdf raises anything; without them the text is still read)
            continue


def _information(reader: PdfReader) -> bytes:
    facts: Mapping[str, Any] = reader.metadata or {}
    return "\n".join(f"{str(key).lstrip('/')}: {value}" for key, value in facts.items()).encode()


def _xmp(reader: PdfReader) -> bytes:
    stream = reader.root_object.get("/Metadata")
    return stream.get_object().get_data() if stream is not None else b""


def _credentials(reader: PdfReader) -> bytes:
    """Manifests that the document names as its own (C2PA 2.1, A.4)."""
    found = b""
    for one in reader.root_object.get("/AF", []):
        named = one.get_object()
        if named.get("/AFRelationship") == "/C2PA_Manifest":
            found += named["/EF"]["/F"].get_object().get_data()
    return found


def _storable(text: str) -> str:
    """Fonts without a table of characters give NULs and half surrogates, which are no text."""
    return "".join(c for c in text if c != "\x00" and not "\ud800" <= c <= "\udfff")


def _open(file: IO[bytes], limits: Limits, entry: str) -> PdfReader:
    from pypdf import PdfReader

    try:
        reader = PdfReader(file)
        if reader.is_encrypted:
            raise _encrypted(entry)
        count = len(reader.pages)
    except (UploadRejectedError, MemoryError, OSError):
        raise
    except Exception as error:  # pypdf raises whatever a broken file leads it to
        # It tries to open what is encrypted, for which it has nothing to hand in here.
        if _names_encryption(file):
            raise _encrypted(entry) from None
        raise _broken(error, "its directory", entry) from None
    if count > limits.pdf_pages:
        raise too_large(
            "too_many_pages",
            f"The PDF has {count:,} pages; at most {limits.pdf_pages:,} are read.",
            where=place(entry, "the pages"),
            limit=f"{limits.pdf_pages:,} pages",
            remedy="Split it into several files.",
        )
    return reader


def _names_encryption(file: IO[bytes]) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TRAILER_BYTES))
    return b"/Encrypt" in file.read()


def _encrypted(entry: str) -> UploadRejectedError:
    return wrong_content(
        "encrypted_pdf",
        "The PDF is protected by a password.",
        where=place(entry, "the file"),
        remedy="Save it without protection, if you may, and upload it again.",
    )


def _pages(reader: PdfReader, entry: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        for page in reader.pages:
            text = page.extract_text()
            number += 1
            yield number, text
            # What a page unfolded to is not needed for the next: memory stays that of one page.
            reader.resolved_objects.clear()
    except (UploadRejectedError, MemoryError, OSError):
        raise
    except Exception as error:  # as above
        raise _broken(error, f"page {number + 1}", entry) from None


def _broken(error: Exception, where: str, entry: str) -> UploadRejectedError:
    return wrong_content(
        "broken_pdf",
        f"The PDF cannot be decoded at {where} ({type(error).__name__}).",
        where=place(entry, where),
        remedy="It may be cut short or damaged: save it again, or send the text itself.",
    )
