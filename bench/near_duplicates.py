"""Finding near-duplicates: rows a second of ours beside `datasketch`, on the same rows, in turns.

100,000 generated rows of 12 to 60 words, of which 5% are near copies: one word in twenty changed,
at least one. Ours is what an upload goes through (`datanets.checks.duplicates`): bands by MinHash,
candidates, exact Jaccard. The peer is datasketch's MinHash and MinHashLSH by their manual,
`update_batch` and all, with the same shingles, bands and threshold, its candidates confirmed by the
same exact Jaccard. Each runs in a process of its own with one thread; beside wall time stands
processor time, which a busy machine does not stretch. The rate of the personal data patterns is
measured on the same rows, of which one in twenty holds an address or a number.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = 100_000
PEER_ROWS = 20_000
"""The peer is given fewer rows, a rate is a rate; both are timed on these too."""
COPIES = 0.05
SEED = 4
TARGET_ROWS_S = 20_000
ROUNDS = 3
PEER = Path(__file__).parent / "peers" / "datasketch_peer.py"


def measure(rows: int = ROWS, peer_rows: int = PEER_ROWS) -> dict[str, Any]:
    """Figures for `docs/benchmarks/near_duplicates.json`."""
    texts, copies = generate(rows)
    ours = _in_own_process(_OURS, texts, rounds=ROUNDS)
    small, small_copies = generate(peer_rows)
    peer = _peer(small)
    beside = _in_own_process(_OURS, small, rounds=1)
    personal = _in_own_process(_PERSONAL_DATA, _with_personal_data(small), rounds=1)
    found = {tuple(pair) for pair in ours["pairs"]}
    peer_rate = peer.get("rows_s")
    return {
        "near_duplicate_rows_s": ours["rows_s"],
        "peer_near_duplicate_rows_s": peer_rate,
        "ratio_peer": round(beside["rows_s"] / peer_rate, 1) if peer_rate else None,
        "near_duplicate_rows_per_cpu_s": ours["rows_per_cpu_s"],
        "target_rows_s": TARGET_ROWS_S,
        "reached": ours["rows_s"] >= TARGET_ROWS_S,
        "rows": rows,
        "planted": len(copies),
        "planted_reaching_threshold": _reaching(texts, copies),
        "planted_found": len(copies & found),
        "found": len(found),
        "seconds": ours["seconds"],
        "peak_memory_mb": ours["peak_memory_mb"],
        "peer": {
            **{name: value for name, value in peer.items() if name != "pairs"},
            "rows": peer_rows,
            "planted": len(small_copies),
            "planted_found": len(small_copies & {tuple(pair) for pair in peer.get("pairs", [])}),
            "ours_planted_found": len(small_copies & {tuple(pair) for pair in beside["pairs"]}),
            "ours_rows_s_on_them": beside["rows_s"],
        },
        "personal_data_rows_s": personal["rows_s"],
        "personal_data_rows_per_cpu_s": personal["rows_per_cpu_s"],
        "personal_data_found": personal["found"],
        "processor": platform.processor() or platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def generate(rows: int, seed: int = SEED) -> tuple[list[str], set[tuple[int, int]]]:
    """Texts, and the planted pairs (copy, original), both counted from 0."""
    drawn = random.Random(seed)
    vocabulary = [_word(drawn) for _ in range(20_000)]
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    copies = int(COPIES * rows)
    originals = rows - copies
    lengths = [drawn.randint(12, 60) for _ in range(originals)]
    words = drawn.choices(vocabulary, weights, k=sum(lengths))
    texts, at = [], 0
    for length in lengths:
        texts.append(" ".join(words[at : at + length]))
        at += length
    pairs = set()
    for place in drawn.sample(range(originals), copies):
        pairs.add((len(texts), place))
        copy = texts[place].split()
        for changed in drawn.sample(range(len(copy)), max(1, len(copy) // 20)):
            copy[changed] = drawn.choice(vocabulary)
        texts.append(" ".join(copy))
    return texts, pairs


def _word(drawn: random.Random) -> str:
    syllables = ("ka", "lo", "mi", "ren", "tu", "sa", "vor", "del", "ni", "pha", "go", "est")
    return "".join(drawn.choices(syllables, k=drawn.randint(1, 4)))


def _with_personal_data(texts: list[str]) -> list[str]:
    data = ("jane.doe@acme.com", "+49 30 901820", "4111 1111 1111 1111", "8.8.8.8")
    return [
        f"{text} {data[at // 20 % len(data)]}" if at % 20 == 0 else text
        for at, text in enumerate(texts)
    ]


def _reaching(texts: list[str], pairs: set[tuple[int, int]]) -> int:
    from datanets.checks.duplicates import NEAR_JACCARD, jaccard, shingles

    likeness = (jaccard(shingles(texts[one]), shingles(texts[other])) for one, other in pairs)
    return sum(share >= NEAR_JACCARD for share in likeness)


_OURS = """
from datanets.checks.duplicates import near_duplicates, near_keys
def work(texts):
    found = near_duplicates(near_keys(texts), texts.__getitem__)
    return {"pairs": [(near.row, near.like) for near in found]}
"""
_PERSONAL_DATA = """
from datanets.checks import personal_data
personal_data.load()
def work(texts):
    return {"found": sum(len(personal_data.find_personal_data(text)) for text in texts)}
"""
_AROUND = """
import json, resource, sys, time
texts = json.load(open(sys.argv[1], encoding="utf-8"))
seconds, processor = [], []
for _ in range(int(sys.argv[2])):
    started, used = time.perf_counter(), time.process_time()
    answer = work(texts)
    seconds.append(time.perf_counter() - started)
    processor.append(time.process_time() - used)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
rate = round(len(texts) / sorted(seconds)[len(seconds) // 2])
rounded = [round(one, 2) for one in seconds]
answer["rows_per_cpu_s"] = round(len(texts) / sorted(processor)[len(processor) // 2])
print(json.dumps({**answer, "rows_s": rate, "seconds": rounded, "peak_memory_mb": round(peak)}))
"""


def _in_own_process(
    work: str, texts: list[str], *, rounds: int, python: str = sys.executable
) -> dict[str, Any]:
    """The median of the rounds; imports are not timed."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory(prefix="bench-near-") as name:
        rows = Path(name, "texts.json")
        rows.write_text(json.dumps(texts), encoding="utf-8")
        done = subprocess.run(
            [python, "-c", work + _AROUND, str(rows), str(rounds)],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _peer(texts: list[str]) -> dict[str, Any]:
    """What the peer did, or its error: a failure is a result."""
    started = time.perf_counter()
    try:
        python = _environment()
        work = PEER.read_text(encoding="utf-8")
        return {"version": _VERSION, **_in_own_process(work, texts, rounds=1, python=str(python))}
    except (subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        failed = {"error": said[-1][:300] if said else "died"}
        return {**failed, "after_seconds": round(time.perf_counter() - started, 1)}


_VERSION = "datasketch 2.0.0"


def _environment() -> Path:
    """The peer's Python, made on first use, apart from ours."""
    folder = Path(os.environ.get("BENCH_PEERS", ".local/bench/peers")).absolute() / "datasketch"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = PEER.with_name("requirements-datasketch.txt")
        subprocess.run([*pip, "-r", str(wanted)], check=True, capture_output=True, text=True)
        (folder / ".ready").touch()
    return python
