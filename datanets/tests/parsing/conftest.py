"""Every upload of these tests is a real file, read by a real child, under the same three checks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from datanets.parsing import Limits, ParseResult, Row, parse_upload

Parse = Callable[..., ParseResult]


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def parse(tmp_path: Path, temporary_folder: Path) -> Iterator[Parse]:
    """Parses bytes or a path; then the sums, the memory and the disk must be right."""
    results: list[ParseResult] = []

    def parse_one(
        name: str, content: bytes | Path, mapping: Mapping[str, str] | None = None, **limits: int
    ) -> ParseResult:
        path = content if isinstance(content, Path) else tmp_path / "upload"
        if isinstance(content, bytes):
            path.write_bytes(content)
        result = parse_upload(path, name, Limits(**limits), mapping=mapping)
        results.append(result)
        assert result.rows_accepted + result.rows_rejected == result.rows_read
        assert result.peak_memory_bytes < 1_000_000_000
        assert list(temporary_folder.iterdir()) == []
        return result

    yield parse_one
    for result in results:
        result.close()


def rows_of(result: ParseResult) -> list[Row]:
    assert result.status == "accepted", (result.rejection, result.needs_mapping)
    return list(result.rows())


def refused(result: ParseResult, status: int, code: str, *places: str) -> None:
    """The whole file was refused with this code, in words that name these places and a remedy."""
    rejection = result.rejection
    assert rejection is not None, result
    assert (rejection.status, rejection.code) == (status, code), rejection
    for place in places:
        assert place in rejection.message + rejection.where, rejection
    assert rejection.remedy
    assert "Traceback" not in rejection.message
    assert list(result.rows()) == []
