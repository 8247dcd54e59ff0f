"""More than forty ways in which a file is bad, each with a seed for sizes, places and words.

Some break a parser, some are merely wrong; each has to end in one clear refusal (4xx).
"""

from __future__ import annotations

import gzip
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from datanets.tests.parsing import documents, hostile_files

Draw = random.Random
Make = Callable[[Draw], bytes]
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class BadFile:
    """One class: a name for the report, the file's name, and its bytes from a seed."""

    name: str
    filename: str
    make: Make

    def content(self, seed: int) -> bytes:
        return self.make(random.Random(f"{self.name} {seed}"))


def _words(drawn: Draw, most: int = 8) -> str:
    return " ".join(
        "".join(drawn.choices("abcdefghij", k=drawn.randint(2, 9)))
        for _ in range(drawn.randint(1, most))
    )


def _row(drawn: Draw) -> dict[str, Any]:
    return {"question": f"What is {_words(drawn)}?", "answer": f"It is {_words(drawn)}."}


def _jsonl(drawn: Draw, change: Callable[[Draw, dict[str, Any]], Any]) -> bytes:
    """Between 1 and 40 rows, every one of them spoilt."""
    rows = [change(drawn, _row(drawn)) for _ in range(drawn.randint(1, 40))]
    return "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def _good_csv(drawn: Draw, rows: int = 5) -> str:
    lines = [f"{_words(drawn)},{_words(drawn)}" for _ in range(rows)]
    return "\n".join(["question,answer", *lines]) + "\n"


def _cut(data: bytes, drawn: Draw) -> bytes:
    return data[: drawn.randrange(len(data) // 4, len(data) - 20)]


def _not_utf8(drawn: Draw) -> bytes:
    text = _good_csv(drawn).encode()
    at = drawn.randrange(16, len(text))
    return text[:at] + bytes([drawn.randint(0xF8, 0xFF)]) + text[at:]


def _many_columns(drawn: Draw) -> bytes:
    count = drawn.randint(5_000, 60_000)
    return (",".join(f"c{at}" for at in range(count)) + "\n").encode() * 2


def _twice_named(drawn: Draw) -> bytes:
    name = _words(drawn, 1)
    return f"question,{name},{name}\na,b,c\n".encode()


def _open_quote(drawn: Draw) -> bytes:
    return f'question,answer\n{_words(drawn)},"{_words(drawn)}\n'.encode() + b"a,b\n" * 50


def _ragged(drawn: Draw) -> bytes:
    rows = [",".join(["a"] * drawn.randint(3, 9)) for _ in range(drawn.randint(1, 30))]
    return "\n".join(["question,answer", *rows]).encode()


def _deep(drawn: Draw) -> bytes:
    levels = drawn.randint(100, 100_000)
    return b"[" * levels + b"]" * levels


def _long_line(drawn: Draw) -> bytes:
    return b"question,answer\nwhat," + b"a" * drawn.randint(MEGABYTE, 12 * MEGABYTE) + b"\n"


def _without(name: str) -> Callable[[Draw, dict[str, Any]], Any]:
    return lambda drawn, row: {**row, name: " " * drawn.randint(0, 5)}


def _long_cell(drawn: Draw, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "answer": "a" * drawn.randint(270_000, 400_000)}


def _unknown_speaker(drawn: Draw, row: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": _words(drawn, 1), "content": row["question"]}]}


def _same_pair(drawn: Draw, row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["question"], "chosen": row["answer"], "rejected": row["answer"]}


def _twice_keyed(drawn: Draw) -> bytes:
    return b"".join(
        f'{{"question": "{_words(drawn)}", "question": "b", "answer": "c"}}\n'.encode()
        for _ in range(drawn.randint(1, 9))
    )


def _long_number(drawn: Draw) -> bytes:
    digits = "9" * drawn.randint(101, 50_000)
    return f'{{"question": "{_words(drawn)}", "answer": {digits}}}\n'.encode()


def _half_character(drawn: Draw) -> bytes:
    mark = drawn.choice(["\\ud800", "\\udfff", "\\u0000"])
    return f'{{"question": "{_words(drawn)}", "answer": "a{mark}"}}\n'.encode()


def _parquet(drawn: Draw) -> bytes:
    rows = [_row(drawn) for _ in range(drawn.randint(50, 500))]
    columns = {name: [row[name] for row in rows] for name in ("question", "answer")}
    return hostile_files.parquet_of(columns)


def _flipped_parquet(drawn: Draw) -> bytes:
    """The directory is damaged all over, its length and end mark are whole."""
    data = bytearray(_parquet(drawn))
    footer = int.from_bytes(data[-8:-4], "little")
    for at in range(len(data) - 8 - footer, len(data) - 8):
        data[at] ^= drawn.randint(1, 255)
    return bytes(data)


def _lying_parquet(drawn: Draw) -> bytes:
    return _parquet(drawn)[:-8] + struct.pack("<L", drawn.randint(2**20, 2**31)) + b"PAR1"


def _zip_of_text(drawn: Draw) -> bytes:
    return hostile_files.zip_of({"rows.csv": _good_csv(drawn, 40).encode()})


def _bomb(drawn: Draw) -> bytes:
    zeros = bytes(drawn.randint(8, 40) * MEGABYTE)
    return hostile_files.zip_of({"rows.csv": b"question,answer\n" + zeros})


def _crowded(drawn: Draw) -> bytes:
    return hostile_files.crowded_zip(drawn.randint(10_001, 60_000))


def _lying_zip(drawn: Draw) -> bytes:
    rows = _good_csv(drawn, 60).encode()
    return hostile_files.forged_zip([(b"rows.csv", rows)], claimed=drawn.randint(1, 200))


def _way_out(drawn: Draw) -> bytes:
    name = drawn.choice(["../rows.csv", "/etc/rows.csv", "a/../../rows.csv", "C:/rows.csv"])
    return hostile_files.forged_zip([(name.encode(), _good_csv(drawn).encode())])


def _locked_zip(drawn: Draw) -> bytes:
    """The flag of a password on the only file, in both of its headers."""
    data = bytearray(_zip_of_text(drawn))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _link(drawn: Draw) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("rows.csv")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, f"/etc/{_words(drawn, 1)}")
    return out.getvalue()


def _nested(drawn: Draw) -> bytes:
    return hostile_files.zip_of({"inner.zip": _zip_of_text(drawn)})


def _entities(drawn: Draw) -> bytes:
    inner = "&a;" * drawn.randint(2, 200)
    doctype = f'<!DOCTYPE x [<!ENTITY a "{_words(drawn)}"><!ENTITY b "{inner}">]>'
    return documents.docx_of(["&b;"], before=doctype)


def _broken_docx(drawn: Draw) -> bytes:
    return documents.docx_with(f'<w:document xmlns:w="{documents.WORD}"><w:{_words(drawn, 1)}>')


def _folded_docx(drawn: Draw) -> bytes:
    return documents.docx_of(["a" * MEGABYTE] * drawn.randint(8, 30))


def _folded_parquet(drawn: Draw) -> bytes:
    return hostile_files.parquet_row_bomb(drawn.randint(2, 900))


def _cut_json(drawn: Draw) -> bytes:
    return _cut(json.dumps([_row(drawn) for _ in range(9)]).encode(), drawn)


def _json_and_more(drawn: Draw) -> bytes:
    return json.dumps([_row(drawn)]).encode() + b"]" * drawn.randint(1, 9)


def _pdf(drawn: Draw) -> bytes:
    return documents.pdf_of([_words(drawn, 300) for _ in range(drawn.randint(1, 20))])


BAD_FILES = [
    BadFile(*one)
    for one in [
        ("empty", "rows.csv", lambda drawn: b""),
        ("blank", "rows.txt", lambda drawn: b" \n" * drawn.randint(1, 5_000)),
        ("header only", "rows.csv", lambda drawn: f"question,{_words(drawn, 1)}\n".encode()),
        ("not UTF-8", "rows.csv", _not_utf8),
        ("UTF-16", "rows.csv", lambda drawn: _good_csv(drawn).encode("utf-16")),
        ("thousands of columns", "rows.csv", _many_columns),
        ("a column twice", "rows.csv", _twice_named),
        ("open quote", "rows.csv", _open_quote),
        ("ragged rows", "rows.csv", _ragged),
        ("endless line", "rows.csv", _long_line),
        ("cells too long", "rows.jsonl", lambda drawn: _jsonl(drawn, _long_cell)),
        ("no answers", "rows.jsonl", lambda drawn: _jsonl(drawn, _without("answer"))),
        ("no questions", "rows.jsonl", lambda drawn: _jsonl(drawn, _without("question"))),
        ("not objects", "rows.jsonl", lambda drawn: _jsonl(drawn, lambda d, row: [row, 1])),
        ("unknown speakers", "rows.jsonl", lambda drawn: _jsonl(drawn, _unknown_speaker)),
        ("equal pairs", "rows.jsonl", lambda drawn: _jsonl(drawn, _same_pair)),
        ("keys twice", "rows.jsonl", _twice_keyed),
        ("endless number", "rows.jsonl", _long_number),
        ("half characters", "rows.jsonl", _half_character),
        ("bottomless JSON", "rows.json", _deep),
        ("cut JSON", "rows.json", _cut_json),
        ("JSON and more", "rows.json", _json_and_more),
        ("cut parquet", "rows.parquet", lambda drawn: _cut(_parquet(drawn), drawn)),
        ("damaged parquet", "rows.parquet", _flipped_parquet),
        ("lying parquet", "rows.parquet", _lying_parquet),
        ("parquet bomb", "rows.parquet", _folded_parquet),
        ("text as parquet", "rows.parquet", lambda drawn: _good_csv(drawn).encode()),
        ("zip bomb", "rows.zip", _bomb),
        ("overlapping zip", "rows.zip", lambda drawn: hostile_files.overlapping_zip_bomb()),
        ("crowded zip", "rows.zip", _crowded),
        ("lying zip", "rows.zip", _lying_zip),
        ("a way out of the zip", "rows.zip", _way_out),
        ("zip with a password", "rows.zip", _locked_zip),
        ("a link in the zip", "rows.zip", _link),
        ("zip in a zip", "rows.zip", _nested),
        ("cut zip", "rows.zip", lambda drawn: _cut(_zip_of_text(drawn), drawn)),
        ("Word entities", "rows.docx", _entities),
        ("broken Word", "rows.docx", _broken_docx),
        ("Word bomb", "rows.docx", _folded_docx),
        ("cut PDF", "rows.pdf", lambda drawn: _cut(_pdf(drawn), drawn)[:-40]),
        ("scanned PDF", "rows.pdf", lambda d: documents.pdf_of([""] * d.randint(1, 30))),
        ("PDF with a password", "rows.pdf", lambda drawn: documents.pdf_with_password()),
        ("PDF bomb", "rows.pdf", lambda d: documents.pdf_with_bomb(d.randint(80, 300) * MEGABYTE)),
        ("circular PDF", "rows.pdf", lambda drawn: documents.pdf_of_circles()),
        ("picture", "rows.png", lambda drawn: b"\x89PNG\r\n\x1a\n" + drawn.randbytes(500)),
        ("pickle", "rows.csv", lambda drawn: pickle.dumps(_row(drawn))),
        ("gzip", "rows.jsonl.gz", lambda drawn: gzip.compress(_good_csv(drawn).encode())),
    ]
]  # fmt: skip
