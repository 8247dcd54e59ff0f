"""Marks by which a file itself says that AI must not be trained on it. Runs in the sandbox child.

Looked for, in what a file says *about* itself and never in its text:

- the training and data mining assertion of CAWG 1.1 (`cawg.training-mining`) and of C2PA 1.4
  (`c2pa.training-mining`), in a C2PA manifest inside a PDF or Word document or beside the files of
  a zip, and as JSON; "constrained" counts as "notAllowed", as the specification says;
- the reservation of the TDM Reservation Protocol (W3C community report, 2024) in XMP and document
  properties, in the head of Markdown, as a column or field of rows, and in a `tdmrep.json` of a
  zip;
- both in the free metadata of a parquet schema and of its columns;
- the property DataMining of PLUS/IPTC in XMP.

A manifest's signature is not verified: a forged prohibition costs less than an ignored one. Not
looked for: marks hidden in text by invisible characters, in pictures inside a document, at a web
address that is only named, or on the website a file came from (robots.txt, HTTP headers).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from datanets.parsing.result import UploadRejectedError, wrong_content
from datanets.parsing.text_lines import ByteSource, place

METADATA_BYTES_MAX = 4 << 20
_USES = rb"(?:ai_generative_training|ai_training|data_mining)"
# The name of the use, then what is said of it, before the next use begins: as CBOR or as JSON.
_ASSERTION = re.compile(
    rb"((?:cawg|c2pa)\." + _USES + rb")(?:(?!cawg\.|c2pa\.).){0,400}?(notAllowed|constrained)",
    re.DOTALL,
)
_RESERVATION = re.compile(
    rb"(tdm(?:rep)?[-_:]reservation)[\"']?\s*(?:[=:]\s*[\"']?|>\s*(?:<[^<>]{1,40}>\s*)?)"
    rb"(?:1|true)\b",
    re.IGNORECASE,
)
_PLUS = re.compile(rb"(DMI-PROHIBITED[A-Z-]*)")
_RESERVED_COLUMNS = frozenset({"tdm-reservation", "tdm_reservation", "tdm:reservation"})
_ASSERTIONS = frozenset({"cawg.training-mining", "c2pa.training-mining"})
MARKED_COLUMNS = _RESERVED_COLUMNS | _ASSERTIONS | {"assertions"}
_FORBIDDEN = ("notAllowed", "constrained")


def refuse_marked_metadata(data: bytes, *, what: str, entry: str) -> None:
    """Raises UploadRejectedError where the metadata forbid training; `what` names them."""
    data = data[:METADATA_BYTES_MAX].replace(b"\x00", b"")  # UTF-16 becomes readable, too
    if found := _ASSERTION.search(data):
        raise _refused(f"{_words(found[1])} is {_words(found[2])}", what, entry)
    if found := _RESERVATION.search(data):
        raise _refused(f"{_words(found[1])} is 1", what, entry)
    if found := _PLUS.search(data):
        raise _refused(f"plus:DataMining is {_words(found[1])}", what, entry)


def refuse_marked_row(raw: Mapping[str, Any], number: int, entry: str) -> None:
    """The same for what a row says in fields that bear the name of a mark."""
    for name in raw.keys() & MARKED_COLUMNS:
        mark = _mark_in(name, raw[name])
        if mark:
            raise _refused(mark, f"row {number}", entry)


def refuse_marked_head(head: bytes, entry: str) -> None:
    """The same for the YAML head of Markdown: what stands between two lines of dashes."""
    if head.startswith((b"---\n", b"---\r\n")):
        front, closed, _ = head[4:].partition(b"\n---")
        if closed:
            refuse_marked_metadata(front, what="the head of the text", entry=entry)


def read_metadata(source: ByteSource) -> bytes:
    """As much of a part as is looked at."""
    pieces, size = [], 0
    while size < METADATA_BYTES_MAX and (data := source.read(64 * 1024)):
        pieces.append(data)
        size += len(data)
    return b"".join(pieces)


def _mark_in(name: str, value: Any) -> str:
    if name in _RESERVED_COLUMNS:
        return f"{name} is 1" if str(value).strip().lower() in ("1", "1.0", "true") else ""
    if name in _ASSERTIONS:
        return _forbidden_use(value)
    listed = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    asserted = [one.get("data") for one in listed if one.get("label") in _ASSERTIONS]
    return next((mark for data in asserted if (mark := _forbidden_use(data))), "")


def _forbidden_use(data: Any) -> str:
    entries = data.get("entries", data) if isinstance(data, dict) else {}
    for name, said in entries.items() if isinstance(entries, dict) else ():
        use = said.get("use") if isinstance(said, dict) else said
        if use in _FORBIDDEN and re.fullmatch(rb"(?:cawg|c2pa)\." + _USES, name.encode()):
            return f"{name} is {use}"
    return ""


def _words(found: bytes) -> str:
    return found.decode("ascii", "replace")


def _refused(mark: str, what: str, entry: str) -> UploadRejectedError:
    return wrong_content(
        "training_not_allowed",
        f"The file says that AI must not be trained on it: {mark}, in {what}. Nothing was stored.",
        where=place(entry, what),
        remedy="Ask whoever holds the rights. If they allow it, send the copy that they mark so.",
    )
