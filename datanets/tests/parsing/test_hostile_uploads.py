"""Files made to break a parser: each is refused in plain words, in bounds, and leaves nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from datanets.tests.parsing import hostile_files
from datanets.tests.parsing.conftest import Parse, refused, rows_of


def test_text_that_is_not_utf8_names_line_and_byte(parse: Parse) -> None:
    result = parse("a.csv", "question,answer\nwhat?,café\n".encode("latin-1"))
    refused(result, 422, "not_utf8", "line 2", "byte 25")


def test_the_byte_named_after_a_byte_order_mark_is_the_byte_of_the_file(parse: Parse) -> None:
    result = parse("a.jsonl", b'\xef\xbb\xbf{"text": "a"}\n{"text": "\xff"}\n')
    refused(result, 422, "not_utf8", "line 2, byte 27")
    refused(parse("a.txt", b"\xef\xbb\xbfa\xff"), 422, "not_utf8", "line 1, byte 4")


def test_broken_utf8_in_a_json_array_names_line_and_byte(parse: Parse) -> None:
    result = parse("a.json", b'[{"text": "a"},\n {"text": "' + "é".encode() + b'\xe9"}]')
    refused(result, 422, "not_utf8", "line 2, byte 29")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_unicode_encodings_are_named(parse: Parse, encoding: str) -> None:
    result = parse("a.csv", "question,answer\nwhat,that\n".encode(encoding))
    refused(result, 422, "not_utf8", encoding[:6].upper())


def test_a_line_of_300_megabytes_is_refused_at_its_first_megabyte(
    parse: Parse, tmp_path: Path
) -> None:
    path = hostile_files.sparse_line(tmp_path / "line", 300_000_000)
    result = parse("a.csv", path)
    refused(result, 413, "line_too_long", "Line 2", "byte 16")
    assert result.cpu_seconds < 5
    assert result.peak_memory_bytes < 60_000_000


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt"])
def test_long_lines_are_refused_in_every_text_format(parse: Parse, name: str) -> None:
    result = parse(name, b'[{"text": "' + b"x" * 3_000_000 + b'"}]')
    refused(result, 413, "row_too_long" if name != "a.txt" else "line_too_long")


def test_a_line_just_over_the_limit_is_refused_by_its_number(parse: Parse) -> None:
    content = b"question,answer\nq," + b"a" * 2_000 + b"\nq,a\n"
    refused(parse("a.csv", content, line_bytes=1_000), 413, "line_too_long", "Line 2", "byte 16")


def test_a_file_over_the_size_limit_is_never_read(parse: Parse, tmp_path: Path) -> None:
    path = hostile_files.sparse_line(tmp_path / "large", 600 * 1024**2)
    result = parse("a.csv", path)
    refused(result, 413, "file_too_large")
    assert (result.cpu_seconds, result.peak_memory_bytes) == (0, 0)  # no child was started


def test_100_000_columns_are_refused(parse: Parse) -> None:
    header = ",".join(f"c{at}" for at in range(100_000))
    refused(parse("a.csv", f"{header}\n".encode()), 413, "too_many_columns", "100,000", "line 1")


def test_a_row_with_100_000_keys_is_refused(parse: Parse) -> None:
    keys = ",".join(f'"{at}":1' for at in range(80_000))
    refused(parse("a.jsonl", f"{{{keys}}}".encode()), 422, "no_usable_row", "80,000 columns")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_100_000_deep_is_refused(parse: Parse, name: str, opening: str) -> None:
    content = opening * 100_000 + "1" + ("]" if opening == "[" else "}") * 100_000
    result = parse(name, content.encode())
    refused(result, 422, "nested_too_deep" if opening == "[" else "no_usable_row", "row 1", "64")


def test_a_deep_value_inside_an_array_of_rows_is_refused(parse: Parse) -> None:
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    result = parse("a.json", f'[{{"text": "fine"}}, {deep}]'.encode())
    refused(result, 422, "nested_too_deep", "row 2")


def test_two_million_open_brackets_end_at_once(parse: Parse) -> None:
    result = parse("a.json", b"[" * 2_000_000)
    refused(result, 422, "nested_too_deep")
    assert result.cpu_seconds < 5


def test_a_parquet_file_of_a_billion_rows_is_refused(parse: Parse) -> None:
    bomb = hostile_files.parquet_row_bomb(row_groups=1_000)
    assert len(bomb) < 500_000
    refused(parse("a.parquet", bomb), 413, "too_many_rows", "1,000,000,000")


def test_a_parquet_file_that_unfolds_to_100_gigabytes_is_refused(parse: Parse) -> None:
    bomb = hostile_files.parquet_cell_bomb(rows=100_000, cell_bytes=1_000_000)
    assert len(bomb) < 100_000
    refused(parse("a.parquet", bomb), 413, "unpacked_too_large")


def test_a_parquet_file_is_charged_for_its_texts_and_not_for_its_dictionaries(
    parse: Parse,
) -> None:
    questions = [f"what is {at}?" for at in range(20_000)]
    content = hostile_files.parquet_of({"question": questions, "answer": questions})
    assert len(rows_of(parse("a.parquet", content, unpacked_bytes=1_000_000))) == 20_000


def test_a_parquet_cell_larger_than_the_memory_is_refused(parse: Parse) -> None:
    bomb = hostile_files.parquet_cell_bomb(rows=10, cell_bytes=120_000_000)
    result = parse("a.parquet", bomb, memory_bytes=400_000_000)
    refused(result, 413, "needs_too_much_memory")


def test_a_repeated_text_that_fits_no_memory_unfolded_costs_only_its_rows(parse: Parse) -> None:
    """64 rows are read at once: half a gigabyte of this text, which is in the file once."""
    bomb = hostile_files.parquet_cell_bomb(rows=150, cell_bytes=8_000_000, other_rows=[20, 140])
    result = parse("a.parquet", bomb, memory_bytes=400_000_000)
    assert [(row.number, row.response) for row in rows_of(result)] == [(21, "that"), (141, "that")]
    assert [bad.row for bad in result.bad_rows] == [
        at for at in range(1, 151) if at not in (21, 141)
    ]


@pytest.mark.parametrize("kept", [4, 11, 12, 300, -1, -9])
def test_a_truncated_parquet_file_is_refused(parse: Parse, kept: int) -> None:
    whole = hostile_files.parquet_of({"question": ["what"] * 99, "answer": ["that"] * 99})
    refused(parse("a.parquet", whole[:kept]), 422, "cannot_be_decoded")


@pytest.mark.parametrize("seed", range(20))
def test_parquet_files_with_flipped_bytes_give_an_answer_and_never_an_exception(
    parse: Parse, seed: int
) -> None:
    columns = {"question": [f"what is {at}?" for at in range(50)], "answer": ["that"] * 50}
    content = bytearray(hostile_files.parquet_of(columns))
    data_end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    draw = random.Random(seed)
    for _ in range(5):
        first, last = (4, data_end) if seed % 2 else (data_end, len(content) - 4)
        content[draw.randrange(first, last)] = draw.randrange(256)
    result = parse("a.parquet", bytes(content))
    assert result.status in ("accepted", "needs_mapping") or result.rejection


def test_a_parquet_directory_larger_than_the_file_is_refused(parse: Parse) -> None:
    content = b"PAR1" + bytes(100) + (0xFFFFFFFF).to_bytes(4, "little") + b"PAR1"
    refused(parse("a.parquet", content), 422, "cannot_be_decoded", "directory")


def test_rows_with_nul_bytes_are_listed_and_the_others_kept(parse: Parse) -> None:
    result = parse("a.csv", b"question,answer\nwh\x00at,that\nwho,she\n")
    assert [row.instruction for row in rows_of(result)] == ["who"]
    assert [(bad.row, bad.column) for bad in result.bad_rows] == [(1, "question")]
    assert "NUL" in result.bad_rows[0].cause


def test_a_file_of_only_nul_bytes_is_refused(parse: Parse) -> None:
    refused(parse("a.csv", bytes(10_000)), 422, "no_rows")


def test_mixed_line_endings_are_read_as_line_endings(parse: Parse) -> None:
    result = parse("a.csv", b'question,answer\r\na,1\nb,2\rc,"3\r\n4"\r\n')
    assert [(row.instruction, row.response) for row in rows_of(result)] == [
        ("a", "1"), ("b", "2"), ("c", "3\r\n4")
    ]  # fmt: skip


def test_duplicate_headers_are_refused_by_name(parse: Parse) -> None:
    result = parse("a.csv", b"question,answer,question\na,b,c\n")
    refused(result, 422, "duplicate_columns", '"question"', "line 1")


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.txt", "a.parquet", "a.zip", ""])
def test_an_empty_file_is_refused(parse: Parse, name: str) -> None:
    refused(parse(name, b""), 422, "empty_file")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"question,answer\n"), ("a.csv", b"\n \n"), ("a.json", b"[]"), ("a.jsonl", b"\n\n"),
     ("a.txt", b" \n\n"), ("a.parquet", hostile_files.parquet_of({"question": [], "answer": []}))],
)  # fmt: skip
def test_a_file_without_rows_is_refused(parse: Parse, name: str, content: bytes) -> None:
    refused(parse(name, content), 422, "no_rows")


def test_a_quote_that_is_never_closed_is_refused_with_its_line(parse: Parse) -> None:
    result = parse("a.csv", b'question,answer\na,b\n"c,d\ne,f\n')
    refused(result, 422, "quote_not_closed", "line 3")


def test_a_quote_that_swallows_a_megabyte_is_bounded(parse: Parse) -> None:
    result = parse("a.csv", b'question,answer\n"a' + b"x,y\n" * 400_000, cell_characters=9_999_999)
    refused(result, 413, "record_too_long", "line 2")


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("a.pdf", b"question,answer\na,b\n", 422, "not_what_it_says"),
        ("a.docx", b"question,answer\na,b\n", 422, "not_what_it_says"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00", 415, "type_not_read"),
        ("a.csv", b"\x80\x04\x95\x00", 415, "type_not_read"),
        ("a.png", b"\x89PNG\r\n\x1a\n", 415, "type_not_read"),
        ("a.exe", b"MZ this program", 415, "type_not_read"),
        ("a.parquet", b"question,answer\na,b\n", 422, "not_what_it_says"),
        ("a.zip", b"question,answer\na,b\n", 422, "not_what_it_says"),
    ],
)
def test_types_that_are_not_read_are_named(
    parse: Parse, name: str, content: bytes, status: int, code: str
) -> None:
    result = parse(name, content)
    refused(result, status, code)
    assert status == 422 or "csv" in (result.rejection.remedy if result.rejection else "")


def test_rows_over_the_limit_are_refused(parse: Parse) -> None:
    result = parse("a.jsonl", b'{"text": "a"}\n' * 11, rows=10)
    refused(result, 413, "too_many_rows", "row 11")
