"""Hostile files through the real door: a clear 4xx that names the place, and nothing kept."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from datanets.models import Contribution, Record
from openledger_site.core.models import Job

pytestmark = pytest.mark.django_db

TERMS = {"licence": "PSF-2.0", "agree": "on"}
MEGABYTE = 1 << 20


def not_utf8(path: Path) -> None:
    path.write_bytes(b'{"question": "Why?", "answer": "\xff\xfe"}\n')


def many_columns(path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(100_000))
    path.write_text(f"{header}\n{header}\n")


def deep_json(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def zip_bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("rows.csv", "w", force_zip64=True) as entry,
    ):
        for _ in range(200):
            entry.write(b"0" * MEGABYTE)


def parquet_bomb(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000_000, pa.int8()), ["a" * 1_000])
    table = pa.table({"question": column, "answer": column})
    pq.write_table(table, path, row_group_size=2_000_000)


def long_line(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(300):
            file.write(b"a" * MEGABYTE)


BAD: dict[str, tuple[str, Callable[[Path], None], int, str]] = {
    "not UTF-8": ("rows.jsonl", not_utf8, 422, "line 1"),
    "100,000 columns": ("rows.csv", many_columns, 413, "header"),
    "nested 100,000 deep": ("rows.json", deep_json, 422, ""),
    "zip bomb": ("rows.zip", zip_bomb, 413, "rows.csv"),
    "parquet bomb": ("rows.parquet", parquet_bomb, 413, "directory"),
    "300 MB line": ("rows.csv", long_line, 413, "line 1"),
    "a picture": ("rows.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0"), 415, ""),
    "empty": ("rows.csv", lambda path: path.write_bytes(b""), 422, ""),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_words_and_leaves_nothing(
    as_user, datanet, contributor, tmp_path, media, case
):
    name, make, status, place = BAD[case]
    path = tmp_path / name
    make(path)
    answer = upload(as_user(contributor), datanet.slug, path)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert 400 <= status < 500
    assert error["code"]
    assert error["message"]
    assert error["where"]
    assert place in error["where"]
    assert not Contribution.objects.exists()
    assert not Record.objects.exists()
    assert not Job.objects.exists()
    assert not [each for each in media.rglob("*") if each.is_file()]


def upload(client: Client, slug: str, path: Path, **headers: str):
    url = reverse("datanets:contribution-create", args=[slug])
    with path.open("rb") as file:
        form = {**TERMS, "file": file}
        return client.post(url, form, headers={"accept": "application/json", **headers})


def test_the_page_says_what_is_wrong_beside_the_field(as_user, datanet, contributor, tmp_path):
    path = tmp_path / "rows.jsonl"
    not_utf8(path)
    url = reverse("datanets:contribution-create", args=[datanet.slug])
    with path.open("rb") as file:
        answer = as_user(contributor).post(url, {**TERMS, "file": file})
    assert answer.status_code == 422
    assert b"Nothing was stored" in answer.content
    assert b"not UTF-8" in answer.content


def test_a_body_that_is_too_long_is_refused_before_it_is_read(as_user, datanet, contributor):
    class Unread(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    for name in ("contribution-create", "api-contribution-list"):
        answer = as_user(contributor).generic(
            "POST",
            reverse(f"datanets:{name}", args=[datanet.slug]),
            content_type="multipart/form-data; boundary=x",
            headers={"accept": "application/json"},
            CONTENT_LENGTH=str(10**12),
            **{"wsgi.input": Unread()},
        )
        assert answer.status_code == 413
        assert json.loads(answer.content)["error"]["code"] == "file_too_large"


def test_the_door_still_checks_for_forged_requests(datanet, contributor, tmp_path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(contributor, backend="django.contrib.auth.backends.ModelBackend")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "Why?", "answer": "So."}\n')
    assert upload(client, datanet.slug, path).status_code == 403
    assert not Contribution.objects.exists()
