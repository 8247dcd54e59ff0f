"""Tables for spreadsheets: streamed, and never a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from django.http import StreamingHttpResponse

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_response(rows: Iterable[tuple[str, ...]], filename: str) -> StreamingHttpResponse:
    """The rows as a file to download, line by line."""
    response = StreamingHttpResponse(_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


class _Line:
    """Hands each line that the csv module writes straight on."""

    def write(self, text: str) -> str:
        return text


def _lines(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    for row in rows:
        yield writer.writerow([_inert(cell) for cell in row])


def _inert(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula (OWASP: CSV injection); numbers stay numbers."""
    is_harmless = re.fullmatch(r"-?\d+", cell) or not cell.startswith(FORMULA_STARTS)
    return cell if is_harmless else "'" + cell
