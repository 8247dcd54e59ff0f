"""Data on its way in: how fast, in how much memory, and what hostile files and cut lines do.

Parsing and checks run in their confined children, as for any upload; bad files and uploads go over
real HTTP to a real web process on a PostgreSQL of its own. `INGEST_GB` sets the size of the largest
file (5 by default; it is parsed, not checked), `INGEST_VERSION_ROWS` that of the version.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import near_duplicates
from bench.intake.cut_uploads import send_through_faults
from bench.intake.large_files import write_jsonl, write_parquet
from bench.intake.refusals import send_bad_files
from bench.intake.site import Site, temporary_site
from bench.money.cluster import REPOSITORY

ROWS = 40_000
"""Enough that the second in which the children start does not decide."""
ANSWER_WORDS = 600
LARGE_ANSWER_WORDS = 1_200
LARGE_ROW_BYTES = 8_800
FILE_GB = float(os.environ.get("INGEST_GB", "5"))
VERSION_ROWS = int(os.environ.get("INGEST_VERSION_ROWS", "1000000"))
SEEDS = 10
UPLOADS, FAULTS_AN_UPLOAD = 5, 10
TARGETS = {"mb_s": 20, "near_duplicate_rows_s": 20_000, "peak_mb_5gb": 300, "version_seconds": 60}


def measure() -> dict[str, Any]:
    """Figures for `docs/benchmarks/ingest.json`."""
    started = time.monotonic()
    with _space() as folder:
        figures = _speeds(folder) | _large_file(folder, FILE_GB)
    figures |= _near_duplicates()
    with temporary_site() as site:
        figures |= _step("bad files", lambda: send_bad_files(site, SEEDS))
        figures |= _step("cut uploads", lambda: _uploads(site))
        figures |= _step("version", lambda: measure_version(site, VERSION_ROWS))
        figures |= _step("access", lambda: _access(site))
    return figures | {
        "targets": TARGETS,
        "seconds": round(time.monotonic() - started),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
    }


def _step(name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    started = time.monotonic()
    figures = run()
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return figures


@contextmanager
def _space() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="bench-ingest-", dir=os.environ.get("BENCH_SPACE")
    ) as name:
        yield Path(name)


def _speeds(folder: Path) -> dict[str, Any]:
    """Bytes of the file a second, parsing and every check but personal data together.

    A parquet file is packed: beside its own bytes stand those of the same rows as jsonl.
    """
    figures: dict[str, Any] = {"rows": ROWS, "answer_words": ANSWER_WORDS}
    for kind, write in (("jsonl", write_jsonl), ("parquet", write_parquet)):
        path = folder / f"rows.{kind}"
        size_mb = write(path, ROWS, answer_words=ANSWER_WORDS) / 1e6
        figures |= _step(kind, lambda: _speed(kind, path, size_mb))  # noqa: B023 (run at once)
        path.unlink()
    text_mb_s = figures["jsonl_file_mb"] * figures["parquet_rows_s"] / ROWS
    return figures | {"parquet_text_mb_s": round(text_mb_s, 1)}


def _speed(kind: str, path: Path, size_mb: float) -> dict[str, Any]:
    from datanets.checks import check_upload
    from datanets.parsing import parse_upload

    started, worked = time.perf_counter(), _processor_seconds()
    with parse_upload(path, path.name) as parsed:
        after_parsing = time.perf_counter()
        with check_upload(parsed, {}) as checked:
            ended = time.perf_counter()
            rows = sum(1 for _ in checked.rows())
    if rows != ROWS:
        raise RuntimeError(f"{rows} of {ROWS} rows came through.")
    return {
        f"{kind}_mb_s": round(size_mb / (ended - started), 1),
        f"{kind}_parse_mb_s": round(size_mb / (after_parsing - started), 1),
        f"{kind}_rows_s": round(ROWS / (ended - started)),
        f"{kind}_processor_seconds": round(_processor_seconds() - worked, 1),
        f"{kind}_load_average": round(os.getloadavg()[0], 1),
        f"{kind}_file_mb": round(size_mb, 1),
        f"{kind}_parse_peak_mb": round(parsed.peak_memory_bytes / 1e6),
    }


def _processor_seconds() -> float:
    """What the children have used, which a busy machine stretches less than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _large_file(folder: Path, size_gb: float) -> dict[str, Any]:
    """Peak memory of the parsing child, at the full size and at a tenth of it."""
    figures: dict[str, Any] = {}
    for name, share in (("a_tenth", 0.1), ("5gb", 1.0)):
        path = folder / "large.jsonl"
        rows = int(size_gb * share * 1e9 / LARGE_ROW_BYTES)
        size_mb = write_jsonl(path, rows, answer_words=LARGE_ANSWER_WORDS) / 1e6
        parsed = _step(f"file of {size_mb:,.0f} MB", lambda: _parse_large(path))  # noqa: B023 (at once)
        path.unlink()
        figures |= {f"peak_mb_{name}": parsed["peak_mb"]}
        figures["large_file"] = {
            **parsed,
            "mb": round(size_mb),
            "mb_s": round(size_mb / parsed["seconds"], 1),
        }
    return figures


def _parse_large(path: Path) -> dict[str, Any]:
    from datanets.parsing import Limits, parse_upload

    limits = replace(
        Limits(), file_bytes=8 << 30, unpacked_bytes=20 << 30, output_bytes=8 << 30,
        cpu_seconds=3_600, wall_seconds=3_600.0,
    )  # fmt: skip
    with parse_upload(path, path.name, limits) as parsed:
        if parsed.rejection is not None:
            raise RuntimeError(parsed.rejection.message)
        return {
            "rows": parsed.rows_accepted,
            "seconds": round(parsed.wall_seconds, 1),
            "peak_mb": round(parsed.peak_memory_bytes / 1e6),
        }


def _near_duplicates() -> dict[str, Any]:
    found = _step("near-duplicates", lambda: near_duplicates.measure())
    names = ("near_duplicate_rows_s", "near_duplicate_rows_per_cpu_s", "peer_near_duplicate_rows_s")
    return {name: found[name] for name in names} | {
        "near_duplicate_ratio_peer": found["ratio_peer"]
    }


def _uploads(site: Site) -> dict[str, Any]:
    """Fifty faults over five files; only those count whose file arrived byte for byte."""
    ended = [send_through_faults(site, FAULTS_AN_UPLOAD, seed) for seed in range(UPLOADS)]
    whole = [one for one in ended if one["same"]]
    return {
        "upload_cuts": UPLOADS * FAULTS_AN_UPLOAD,
        "upload_cuts_survived": sum(one["kills"] + one["cuts"] for one in whole),
        "upload_kills": sum(one["kills"] for one in ended),
    }


def measure_version(site: Site, rows: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.intake.cut_version", str(rows)]
    done = subprocess.run(
        command, check=True, cwd=REPOSITORY, env=site.cluster.environment(), capture_output=True,
        text=True,
    )  # fmt: skip
    cut = json.loads(done.stdout.splitlines()[-1])
    seconds = cut["seconds"] if rows == 1_000_000 else None
    return {"version_1m_seconds": seconds, "version": cut}


def _access(site: Site) -> dict[str, Any]:
    """The access matrix of the suite: every route, method and person; what fails there leaks."""
    tests = "openledger_site/tests/test_access_matrix.py"
    command = [sys.executable, "-m", "pytest", tests, "-q", "-s", "-p", "no:randomly", "--tb=no"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=site.cluster.environment(), capture_output=True, text=True
    )
    cells = [line for line in done.stdout.splitlines() if line.startswith("access matrix:")]
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if not cells:
        raise RuntimeError(done.stdout[-2_000:])
    return {"access_cells": int(cells[0].split()[2]), "access_leaks": len(failed)}
