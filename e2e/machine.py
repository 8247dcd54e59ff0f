"""The machine under a running site: its processes, their memory, its rows, and files to hurt it."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg.rows import dict_row

from e2e.site import Site

MEGABYTE = 1 << 20
SAMPLE_SECONDS = 0.05


class Watch:
    """Reads the site's database from outside, one statement a transaction."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def all(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        return self._connection.execute(sql, values).fetchall()  # type: ignore[arg-type] # our SQL

    def one(self, sql: str, *values: Any) -> dict[str, Any]:
        found = self.all(sql, *values)
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows for {sql} with {values}")
        return found[0]


def rows(watch: Watch, sql: str, *values: Any) -> list[dict[str, Any]]:
    return watch.all(sql, *values)


def processes(site: Site) -> dict[int, str]:
    """Every living process of a site by id, PostgreSQL's and sandboxes' too.

    A process belongs to the site when its parent does, when it was given the site's folder, or
    when it works inside that folder.
    """
    found: dict[int, str] = {}
    parents: dict[int, tuple[int, str]] = {}
    folder = str(site.folder)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            pid, command = int(entry.name), (entry / "cmdline").read_bytes()
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z":
                continue
            words = command.replace(b"\0", b" ").decode(errors="replace")
            parents[pid] = (int(fields[1]), words)
            given = folder.encode() in (entry / "environ").read_bytes()
            if given or folder in words or str((entry / "cwd").readlink()).startswith(folder):
                found[pid] = words
        except OSError:
            continue  # it ended while we looked
    for pid, (parent, words) in sorted(parents.items()):
        if parent in found or parent == site.process.pid:
            found.setdefault(pid, words)
    return found


def find(site: Site, what: str) -> list[int]:
    """Ids of the site's processes whose command line holds `what`."""
    return [pid for pid, words in processes(site).items() if what in words]


class PeakMemory:
    """The largest resident memory of any single process of the site while the block runs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.peak_bytes = 0
        self.peak_name = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            for pid, words in processes(self.site).items():
                size = _resident_bytes(pid)
                if size > self.peak_bytes:
                    self.peak_bytes, self.peak_name = size, words[-60:]


def _resident_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def hostile_files(folder: Path) -> dict[str, tuple[Path, int, str]]:
    """Path, the status it must get, and a part of the place that the refusal must name."""
    made = {
        "not UTF-8": (folder / "bytes.jsonl", 422, "line 1"),
        "300 MB line": (folder / "line.csv", 413, "line 1"),
        "zip bomb": (folder / "bomb.zip", 413, "rows.csv"),
        "100,000 columns": (folder / "wide.csv", 413, "header"),
        "nested 100,000 deep": (folder / "deep.json", 422, ""),
        "parquet bomb": (folder / "bomb.parquet", 413, "directory"),
    }
    made["not UTF-8"][0].write_bytes(b'{"question": "Why?", "answer": "\xff\xfe"}\n')
    with made["300 MB line"][0].open("wb") as file:
        for _ in range(300):
            file.write(b"a" * MEGABYTE)
    with (
        zipfile.ZipFile(made["zip bomb"][0], "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("rows.csv", "w", force_zip64=True) as entry,
    ):
        for _ in range(400):
            entry.write(b"0" * MEGABYTE)
    header = ",".join(f"c{number}" for number in range(100_000))
    made["100,000 columns"][0].write_text(f"{header}\n{header}\n")
    made["nested 100,000 deep"][0].write_text("[" * 100_000 + "]" * 100_000)
    _write_parquet_bomb(made["parquet bomb"][0])
    return made


def _write_parquet_bomb(path: Path) -> None:
    """One long text, stored once and named by two million rows: 4 GB when it is unfolded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000_000, pa.int8()), ["a" * 1_000])
    table = pa.table({"question": column, "answer": column})
    pq.write_table(table, path, row_group_size=2_000_000)
