"""Downloads are made while they are read, under ASGI too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openledger_site.core.streaming import PARTS_AT_ONCE, StreamedFile, StreamedResponse


async def test_a_long_download_is_not_made_before_its_first_piece_is_read() -> None:
    made = []

    def lines() -> Iterator[str]:
        for number in range(100 * PARTS_AT_ONCE):
            made.append(number)
            yield f"{number}\n"

    pieces = aiter(StreamedResponse(lines()))
    first = await anext(pieces)
    assert first.startswith(b"0\n1\n")
    assert len(made) == PARTS_AT_ONCE
    rest = [piece async for piece in pieces]
    whole = b"".join([first, *rest])
    assert whole == b"".join(f"{number}\n".encode() for number in range(100 * PARTS_AT_ONCE))


async def test_empty_parts_end_nothing() -> None:
    parts = [b""] * (2 * PARTS_AT_ONCE) + [b"end"]
    assert b"".join([piece async for piece in StreamedResponse(iter(parts))]) == b"end"


async def test_a_file_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(b"x" * 3_000_000)
    with path.open("rb") as file:
        pieces = [piece async for piece in StreamedFile(file)]
    assert len(pieces) > 1
    assert b"".join(pieces) == path.read_bytes()
