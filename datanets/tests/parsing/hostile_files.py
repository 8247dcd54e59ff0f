"""Makes the files that break parsers. Small seeds, no stored binaries."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def parquet_of(columns: Mapping[str, object], **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def sparse_line(path: Path, size_bytes: int) -> Path:
    """A csv whose second line has this many bytes; the disk holds only its two ends."""
    with path.open("wb") as file:
        file.write(b"question,answer\nwhat")
        file.truncate(size_bytes)
        file.seek(0, io.SEEK_END)
        file.write(b",that\n")
    return path


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _end(count: int, directory_bytes: int, directory_at: int) -> bytes:
    """The end record, with the zip64 one before it when the count needs it."""
    if count < 0xFFFF:
        return struct.pack(
            "<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, directory_bytes, directory_at, 0
        )
    at = directory_at + directory_bytes
    sizes = (0, 0, count, count, directory_bytes, directory_at)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, *sizes)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *([0xFFFF] * 2), *([0xFFFFFFFF] * 2), 0)
    return record + locator + end


def forged_zip(
    entries: list[tuple[bytes, bytes]], *, repeats: int = 1, claimed: int | None = None
) -> bytes:
    """A zip written by hand. `repeats` lists each entry that often over the same bytes;
    `claimed` is written in place of the true unpacked size."""
    body, directory = b"", b""
    for name, content in entries:
        packed = _deflate(content)
        size = len(content) if claimed is None else claimed
        fixed = (0x800, 8, 0, 0x21, zlib.crc32(content), len(packed), size, len(name))
        at = len(body)
        body += struct.pack("<4sH4H3L2H", b"PK\x03\x04", 20, *fixed, 0) + name + packed
        record = struct.pack("<4s2H4H3L5H2L", b"PK\x01\x02", 20, 20, *fixed, *([0] * 5), at)
        directory += (record + name) * repeats
    return body + directory + _end(len(entries) * repeats, len(directory), len(body))


def overlapping_zip_bomb() -> bytes:
    """1,000 entries over one stream of 10 MB: 10 GB from some 20 kB."""
    return forged_zip([(b"a.csv", b"question,answer\n" + bytes(10_000_000))], repeats=1_000)


def crowded_zip(count: int) -> bytes:
    return forged_zip([(f"{at}.csv".encode(), b"") for at in range(1)], repeats=count)


def parquet_row_bomb(row_groups: int, rows_each: int = 1_000_000) -> bytes:
    """One dictionary-encoded row group listed many times over: 1e9 rows in a few kilobytes."""
    indices = pa.array([0] * rows_each, pa.int8())
    one = pa.DictionaryArray.from_arrays(indices, pa.array(["what"]))
    data = parquet_of(
        {"question": one, "answer": one}, compression="zstd", row_group_size=rows_each
    )
    metadata = pq.read_metadata(io.BytesIO(data))
    total = pq.read_metadata(io.BytesIO(data))
    for _ in range(row_groups - 1):
        total.append_row_groups(metadata)
    footer = io.BytesIO()
    total.write_metadata_file(footer)
    footer_bytes = int.from_bytes(data[-8:-4], "little")
    return data[: -8 - footer_bytes] + footer.getvalue()[4:]


def parquet_cell_bomb(rows: int, cell_bytes: int, other_rows: Sequence[int] = ()) -> bytes:
    """One long text, stored once and referred to by every row: rows x cell_bytes when unfolded.

    `other_rows`, counted from 0, hold a short one; the file then tells of no dictionary.
    """
    texts = pa.array(["x" * cell_bytes, "that"], pa.large_string())
    places = pa.array([int(at in other_rows) for at in range(rows)], pa.int8())
    long = pa.DictionaryArray.from_arrays(places, texts)
    short = pa.array(["what"] * rows)
    told = {"store_schema": not other_rows}
    return parquet_of({"question": short, "answer": long}, compression="zstd", **told)
