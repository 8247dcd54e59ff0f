"""Tables to download: as CSV for spreadsheets, never a formula, or as JSON. Streamed."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator

from openledger_site.core.streaming import StreamedResponse

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_response(rows: Iterable[tuple[str, ...]], filename: str) -> StreamedResponse:
    """The rows as a file to download, line by line."""
    response = StreamedResponse(_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def json_response(rows: Iterable[tuple[str, ...]], filename: str) -> StreamedResponse:
    """The same as a list of objects, one a line; the first row names their members."""
    response = StreamedResponse(_objects(rows), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _objects(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    remaining = iter(rows)
    names = next(remaining)
    yield "["
    for number, row in enumerate(remaining):
        yield (",\n" if number else "\n") + json.dumps(dict(zip(names, row, strict=True)))
    yield "\n]\n"


class _Line:
    """Hands each line that the csv module writes straight on."""

    def write(self, text: str) -> str:
        return text


def _lines(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    for row in rows:
        yield writer.writerow([_inert(cell) for cell in row])


def _inert(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula (OWASP: CSV injection); numbers stay numbers.

    Some read the full-width form of a sign as the sign.
    """
    first = unicodedata.normalize("NFKC", cell[:1])
    is_harmless = re.fullmatch(r"-?\d+", cell) or not first.startswith(FORMULA_STARTS)
    return cell if is_harmless else "'" + cell
