"""Whatever valid rows people have, each format gives the same ones back."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datanets.parsing import Limits, parse_upload, strict_json
from datanets.parsing.result import BadValueError, UploadRejectedError
from datanets.tests.parsing.hostile_files import parquet_of, zip_of

# Any text a row may hold: no lone surrogates, no NUL, not blank, unchanged by any reader.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
filled = texts.filter(lambda text: bool(text.strip()))
pairs = st.lists(st.tuples(filled, filled), min_size=1, max_size=30)


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["instruction", "response"], delimiter=delimiter, quoting=1)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_jsonl(rows: list[dict[str, str]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


WRITERS: dict[str, Callable[[list[dict[str, str]]], bytes]] = {
    "a.csv": as_csv,
    "a.tsv": lambda rows: as_csv(rows, "\t"),
    "a.jsonl": as_jsonl,
    "a.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "a.parquet": lambda rows: parquet_of(
        {name: [row[name] for row in rows] for name in ("instruction", "response")}
    ),
    "a.zip": lambda rows: zip_of({"one.csv": as_csv(rows)}),
}


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs)
def test_valid_rows_come_back_the_same_from_every_format(rows: list[tuple[str, str]]) -> None:
    named = [{"instruction": asked, "response": answered} for asked, answered in rows]
    for name, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "upload")
            path.write_bytes(write(named))
            with parse_upload(path, name) as result:
                read = [(row.instruction, row.response) for row in result.rows()]
        assert read == rows, (name, result.rejection, result.bad_rows)
        assert result.rows_accepted == result.rows_read == len(rows)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=6), st.integers(1, 40), st.sampled_from([None, 2]))
def test_a_json_array_cut_into_pieces_anywhere_gives_its_values(
    values: list[object], piece: int, indent: int | None
) -> None:
    text = json.dumps(values, indent=indent)
    pieces = [text[at : at + piece] for at in range(0, len(text), piece)]
    splitter = strict_json.ValueSplitter(Limits(), "", inside_array=True)
    assert [json.loads(part) for part in splitter.split(pieces)] == values


@given(st.lists(st.dictionaries(texts, json_values), max_size=5), st.integers(1, 40))
def test_objects_one_after_another_give_their_values(
    values: list[dict[str, object]], piece: int
) -> None:
    text = "\n".join(json.dumps(value, indent=1) for value in values)
    pieces = [text[at : at + piece] for at in range(0, len(text), piece)]
    splitter = strict_json.ValueSplitter(Limits(), "", inside_array=False)
    assert [json.loads(part) for part in splitter.split(pieces)] == values


@given(json_values)
def test_strict_json_agrees_with_the_standard_library_on_valid_json(value: object) -> None:
    assert strict_json.loads(json.dumps(value), Limits()) == value


@given(st.text('[]{}",:\\ 01eNa\n', max_size=60))
def test_strict_json_answers_any_text_with_a_value_or_a_named_fault(text: str) -> None:
    splitter = strict_json.ValueSplitter(Limits(), "", inside_array=True)
    with contextlib.suppress(BadValueError):
        strict_json.loads(text, Limits())
    with contextlib.suppress(UploadRejectedError):
        list(splitter.split(["[", text]))


@given(st.text('[]{}"\\a', max_size=80))
def test_depth_counts_brackets_outside_strings_only(text: str) -> None:
    quoted = json.dumps(text)
    assert strict_json.deepest_level(f"[{quoted}]") == 1
