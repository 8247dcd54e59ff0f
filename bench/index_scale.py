"""An index of up to a million records: bytes, and what its life costs in seconds and memory.

Rows, words and calibration are drawn (16 modules, 512 numbers a row, 24 words a record); the files,
sums, digests and arithmetic are the real ones. Each size runs in a process of its own, so that its
peak memory is its own: rows come from a file, a block at a time. Peak memory counts mapped pages of
the index too, which the system can take back.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECORDS = (1_000, 10_000, 100_000, 1_000_000)
DIMENSIONS, MODULES, PHANTOMS = 512, 16, 64
PROMPT_WORDS, RESPONSE_WORDS, VOCABULARY = 8, 16, 20_000
APPENDED, DELETED = 100, 100
SEED = 1


def measure(records: tuple[int, ...] = RECORDS) -> dict[str, Any]:
    """Figures for `docs/benchmarks/index_scale.json`."""
    by_records = {}
    for count in records:
        command = [sys.executable, "-m", "bench.index_scale", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        by_records[str(count)] = json.loads(done.stdout.splitlines()[-1])
    return {
        "by_records": by_records,
        "dimensions": DIMENSIONS,
        "modules": MODULES,
        "words_per_record": PROMPT_WORDS + RESPONSE_WORDS,
        "appended": APPENDED,
        "deleted": DELETED,
        "load_average": round(os.getloadavg()[0], 1),
    }


def life_of(count: int, folder: Path) -> dict[str, Any]:
    """Build, verify, scan, append, delete: seconds of each, and the peak memory of all."""
    from modelfactory.attribution.fast_scan import fast_dots
    from modelfactory.attribution.index import AttributionIndex, IndexRecord
    from modelfactory.attribution.index_withdrawal import delete_records
    from modelfactory.attribution.index_writing import append_records

    started_bytes = _peak_bytes()
    seconds: dict[str, float] = {}
    _timed(seconds, "build", lambda: _build(count, folder))
    index = _timed(seconds, "verify", lambda: AttributionIndex(folder / "index", dots=fast_dots))
    query = np.random.default_rng(SEED).normal(size=DIMENSIONS).astype(np.float32)
    quantised = index.tracks[0].quantise_query(query)
    index.tracks[0].scan(quantised)
    _timed(seconds, "scan", lambda: index.tracks[0].scan(quantised))
    names = [f"new-{at}" for at in range(APPENDED)]
    _timed(
        seconds,
        "append",
        lambda: append_records(
            index,
            folder / "more",
            records=[IndexRecord(name, name) for name in names],
            rows=[_rows(APPENDED)],
            texts=_texts(APPENDED),
        ),
    )
    gone = {f"record-{at:07d}" for at in range(0, count, max(1, count // DELETED))}
    _timed(seconds, "delete", lambda: delete_records(index, gone, folder / "less"))
    attribution_bytes = _peak_bytes()
    _timed(seconds, "words", lambda: index.lexical_responses.scores("w1 w2 w3"))
    return {
        "bytes_per_record": index.bytes_per_record,
        "index_megabytes": round(index.bytes_per_record * count / 1e6, 1),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "peak_megabytes": round(attribution_bytes / 1e6),
        "peak_with_words_megabytes": round(_peak_bytes() / 1e6),
        "libraries_megabytes": round(started_bytes / 1e6),
    }


def _build(count: int, folder: Path) -> None:
    from modelfactory.attribution.index import IndexIdentity, IndexRecord
    from modelfactory.attribution.index_writing import TrackRows, write_index
    from modelfactory.attribution.sketch import plan_sketch

    sketch = plan_sketch(
        {f"module-{at:02d}": 4096 for at in range(MODULES)}, dimensions=DIMENSIONS, seed=SEED
    )
    names = [f"record-{at:07d}" for at in range(count)]
    write_index(
        folder / "index",
        identity=IndexIdentity("b" * 64, "a" * 64, "efim", 0.1, "mean", ("a" * 64,)),
        sketch=sketch,
        records=[IndexRecord(name, name) for name in names],
        tracks=[TrackRows(_rows(count, folder / "rows.npy"), _rows(PHANTOMS))],
        texts=_texts(count),
        phantom_texts=_texts(PHANTOMS),
    )


def _rows(count: int, path: Path | None = None) -> Any:
    """Drawn gradients [count, k], in a file where one is named."""
    random = np.random.default_rng(SEED + count)
    if path is None:
        return random.standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, DIMENSIONS))
    for at in range(0, count, 8_192):
        part = rows[at : at + 8_192]
        part[:] = random.standard_normal(part.shape, dtype=np.float32)
    del rows
    return _Unmapped(path, (count, DIMENSIONS))


class _Unmapped:
    """Rows in a file, mapped for one slice at a time: what was read is not kept in memory."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path, self.shape = path, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Any:
        return np.array(np.load(self._path, mmap_mode="r")[part])


class _Texts:
    """Texts that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Any:
        from modelfactory.attribution.index import Texts

        random = np.random.default_rng(SEED)
        for start in range(0, self._count, 1_000):
            drawn = random.integers(0, VOCABULARY, (1_000, PROMPT_WORDS + RESPONSE_WORDS))
            for row in drawn[: self._count - start]:
                words = [f"w{word}" for word in row]
                yield Texts(" ".join(words[:PROMPT_WORDS]), " ".join(words[PROMPT_WORDS:]))


def _texts(count: int) -> Any:
    return _Texts(count) if count > APPENDED else list(_Texts(count))


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    found = work()
    seconds[name] = time.perf_counter() - started
    return found


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-index-") as name:
        print(json.dumps(life_of(int(sys.argv[1]), Path(name))))
