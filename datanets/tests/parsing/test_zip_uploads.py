"""Zip files that lie, and zip files that do not."""

from __future__ import annotations

import io
import zipfile

import pytest

from datanets.tests.parsing import hostile_files
from datanets.tests.parsing.conftest import Parse, refused, rows_of
from datanets.tests.parsing.hostile_files import forged_zip, parquet_of, zip_of

CSV = b"question,answer\nwhat?,that\n"


def test_a_zip_of_every_format_is_read_in_order(parse: Parse) -> None:
    content = zip_of(
        {
            "folder/a.csv": CSV,
            "b.jsonl": b'{"prompt": "p", "completion": "c"}\n',
            "c.parquet": parquet_of({"input": ["i"], "output": ["o"]}),
            "ü.md": b"# Title\n\nText.",
            "__MACOSX/._a.csv": b"\x00\x05\x16\x07",
            "empty.csv": b"",
        }
    )
    rows = rows_of(parse("a.zip", content))
    assert [(row.entry, row.number, row.instruction or row.text) for row in rows] == [
        ("folder/a.csv", 1, "what?"), ("b.jsonl", 1, "p"), ("c.parquet", 1, "i"),
        ("ü.md", 1, "# Title"), ("ü.md", 2, "Text."),
    ]  # fmt: skip


def test_a_stored_zip_is_read_too(parse: Parse) -> None:
    content = zip_of({"a.csv": CSV}, zipfile.ZIP_STORED)
    assert len(rows_of(parse("a.zip", content))) == 1


def test_a_fault_inside_a_zip_names_the_entry(parse: Parse) -> None:
    result = parse("a.zip", zip_of({"good.csv": CSV, "bad.csv": CSV + b"\xff,x\n"}))
    refused(result, 422, "not_utf8", 'entry "bad.csv", line 3, byte 27')


def test_an_overlapping_bomb_of_10_gigabytes_is_refused_at_once(parse: Parse) -> None:
    bomb = hostile_files.overlapping_zip_bomb()
    assert len(bomb) < 100_000
    result = parse("a.zip", bomb)
    refused(result, 422, "overlapping_entries", 'entry "a.csv"')
    assert result.cpu_seconds < 3


def test_a_bomb_of_high_ratio_is_refused(parse: Parse) -> None:
    result = parse("a.zip", zip_of({"a.csv": b"question,answer\n" + bytes(50_000_000)}))
    refused(result, 413, "ratio_too_high", 'entry "a.csv"')


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_unpacks(parse: Parse) -> None:
    row = b"what?,that\n"
    bomb = forged_zip([(b"a.csv", b"question,answer\n" + row * 1_000_000)], claimed=1_000)
    refused(parse("a.zip", bomb), 422, "broken_zip", 'entry "a.csv"', "more than")


def test_many_files_below_the_ratio_are_stopped_at_the_unpacked_limit(parse: Parse) -> None:
    files = {f"{at}.csv": b"question,answer\n" + b"what?,that\n" * 90_000 for at in range(5)}
    result = parse("a.zip", zip_of(files), unpacked_bytes=3_000_000)
    refused(result, 413, "unpacked_too_large", 'entry "3.csv"')


@pytest.mark.parametrize("count", [10_001, 65_535, 200_000])
def test_too_many_entries_are_refused_from_the_end_record(parse: Parse, count: int) -> None:
    result = parse("a.zip", hostile_files.crowded_zip(count))
    refused(result, 413, "too_many_entries", f"{count:,}")
    assert result.cpu_seconds < 2


def test_a_zip_in_a_zip_is_refused(parse: Parse) -> None:
    inner = zip_of({"a.csv": CSV})
    for name in ("inner.zip", "inner.csv"):
        result = parse("a.zip", zip_of({name: inner}))
        refused(result, 422, "archive_in_archive", f'entry "{name}"')


@pytest.mark.parametrize(
    "name",
    ["../a.csv", "/etc/a.csv", "a/../../b.csv", "C:/a.csv", "..\\a.csv", "a\x01.csv",
     "\u202evsc.a.csv", "a//b.csv", "x" * 1_100 + ".csv"],
)  # fmt: skip
def test_names_that_could_be_paths_are_refused(parse: Parse, name: str) -> None:
    refused(parse("a.zip", forged_zip([(name.encode(), CSV)])), 422, "unsafe_name")


def test_a_symbolic_link_is_refused(parse: Parse) -> None:
    out = io.BytesIO()
    link = zipfile.ZipInfo("a.csv")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(parse("a.zip", out.getvalue()), 422, "link_in_zip", 'entry "a.csv"')


def test_a_password_is_refused(parse: Parse) -> None:
    content = bytearray(zip_of({"a.csv": CSV}))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    refused(parse("a.zip", bytes(content)), 422, "encrypted_zip")


def test_a_checksum_that_does_not_match_is_refused(parse: Parse) -> None:
    content = zip_of({"a.csv": CSV}, zipfile.ZIP_STORED).replace(b"what?", b"where")
    refused(parse("a.zip", content), 422, "broken_zip", 'entry "a.csv"', "checksum")


@pytest.mark.parametrize("cut", [10, 60, -1, -5])
def test_a_truncated_zip_is_refused(parse: Parse, cut: int) -> None:
    refused(parse("a.zip", zip_of({"a.csv": CSV})[:cut]), 422, "broken_zip", "end")


def test_bytes_before_or_after_the_archive_are_refused(parse: Parse) -> None:
    content = zip_of({"a.csv": CSV})
    refused(parse("a.zip", content + b"<html>"), 422, "broken_zip", "after its end")
    refused(parse("a.zip", b"PK\x03\x04<html>" + content), 422, "broken_zip", "directory")


def test_a_type_that_is_not_read_inside_a_zip_names_the_entry(parse: Parse) -> None:
    result = parse("a.zip", zip_of({"a.csv": CSV, "b.png": b"\x89PNG\r\n"}))
    refused(result, 415, "type_not_read", 'entry "b.png"')
