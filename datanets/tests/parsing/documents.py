"""PDF and Word files of known text, and such as nobody should send."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from xml.sax.saxutils import escape

from datanets.tests.parsing.hostile_files import zip_of

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf_of(pages: Sequence[str], *, trailer: str = "", compress: bool = False) -> bytes:
    """A page of Helvetica for each text, a line of it for each line."""
    kids = " ".join(f"{3 + 2 * at} 0 R" for at in range(len(pages)))
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(),
    ]
    for at, text in enumerate(pages):
        page = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {4 + 2 * at} 0 R"
            f"/Resources<</Font<</F {font}>>>>>>"
        )
        objects += [page.encode(), _stream(_drawn(text), compress)]
    return assembled(objects, trailer)


def assembled(objects: Sequence[bytes], trailer: str = "") -> bytes:
    """Objects 1, 2, … with the table of their places; the first is the catalogue."""
    file, places = io.BytesIO(), []
    file.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, start=1):
        places.append(file.tell())
        file.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    table_at = file.tell()
    file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    for place in places:
        file.write(f"{place:010} 00000 n \n".encode())
    file.write(f"trailer\n<</Size {len(objects) + 1}/Root 1 0 R{trailer}>>\n".encode())
    file.write(f"startxref\n{table_at}\n%%EOF\n".encode())
    return file.getvalue()


def _drawn(text: str) -> bytes:
    lines = [f"({_quoted(line)}) Tj 0 -14 Td" for line in text.split("\n")] if text else []
    return "\n".join(["BT /F 11 Tf 50 780 Td", *lines, "ET"]).encode("cp1252")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _stream(data: bytes, compress: bool) -> bytes:
    kind = "/Filter/FlateDecode" if compress else ""
    packed = zlib.compress(data) if compress else data
    return f"<</Length {len(packed)}{kind}>>\nstream\n".encode() + packed + b"\nendstream"


def pdf_with_bomb(unpacked_bytes: int) -> bytes:
    """One page whose few kilobytes unfold to so many bytes of spaces."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
        _stream(b" " * unpacked_bytes, compress=True),
    ]
    return assembled(objects)


def pdf_of_circles() -> bytes:
    """Its tree of pages is its own branch."""
    return assembled(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>",
        ]
    )


def pdf_with_password() -> bytes:
    return pdf_of(
        ["Secret"],
        trailer="/Encrypt<</Filter/Standard/V 2/R 3/Length 128/P -44"
        f"/O<{'00' * 32}>/U<{'00' * 32}>>>/ID[<{'00' * 16}><{'00' * 16}>]",
    )


def docx_of(
    paragraphs: Sequence[str], *, before: str = "", part: str = "word/document.xml"
) -> bytes:
    body = "".join(
        f'<w:p><w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'
        for text in paragraphs
    )
    return docx_with(f'{before}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
                     part)  # fmt: skip


def docx_with(xml: str, part: str = "word/document.xml") -> bytes:
    types = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    text = f'<?xml version="1.0" encoding="UTF-8"?>{xml}'.encode()
    return zip_of({"[Content_Types].xml": types, part: text})
