"""Make the sample files again from this machine's own Python: `python -m e2e.demo.sample`.

Every fact can be checked by a reader: an exception's meaning is the first sentence of its own
docstring, a status' meaning is `http.HTTPStatus(…).description`. Python's documentation is free to
ship under the PSF licence.
"""

from __future__ import annotations

import builtins
import csv
import inspect
import json
import re
from http import HTTPStatus
from pathlib import Path

FOLDER = Path(__file__).parent / "sample"
# Those whose meaning says more than the name does, and no two of which mean the same.
EXCEPTIONS = [
    "EOFError",
    "ExceptionGroup",
    "ImportError",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "MemoryError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PermissionError",
    "RecursionError",
    "ReferenceError",
    "RuntimeError",
    "SystemError",
    "TabError",
    "TypeError",
    "UnboundLocalError",
    "ValueError",
    "ZeroDivisionError",
]
STATUSES = (100, 101, 200, 202, 203, 204, 205, 303, 304, 305, 308, 400, 402, 403, 404, 406, 408,
            410, 412, 418, 421, 500, 502, 503)  # fmt: skip


def exceptions() -> list[tuple[str, str]]:
    """(name, first sentence of the docstring) of built-in exceptions."""
    return [(name, _first_sentence(getattr(builtins, name))) for name in EXCEPTIONS]


def statuses() -> list[tuple[str, str]]:
    """(phrase, Python's description) of HTTP statuses."""
    return [(HTTPStatus(code).phrase, HTTPStatus(code).description) for code in STATUSES]


def _first_sentence(thing: object) -> str:
    text = (inspect.getdoc(thing) or "").replace("\n", " ")
    return re.split(r"(?<=[.])\s", text)[0].strip()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "python-exceptions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["question", "answer"])
        for name, meaning in exceptions():
            writer.writerow([f"What does {name} mean?", meaning])
    with (FOLDER / "http-statuses.jsonl").open("w", encoding="utf-8") as file:
        for phrase, meaning in statuses():
            row = {"question": f"What does the HTTP status {phrase} mean?", "answer": meaning}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
