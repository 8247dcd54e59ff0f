"""Faults injected into moving money, on real processes: is anything lost, doubled or left unclear?

Two payers and a clock move money over a PostgreSQL of their own and a real chain, through a node
that lies when it is told to. `bench/nemesis/kinds.py` lists the kinds of faults; each comes at a
random moment of the same flows: deposits, answers, refunds, batches, epochs, claims. After each,
everything whose outcome is unknown is asked again under its key, and reconcile is run until it
finds nothing. *Lost* and *doubled* come from what people were told and from the chain, not from
the books. `--count` faults (500), drawn by `--seed`. They are spread over as many worlds as there
are cores (`BENCH_FAULTS_WORLDS`), each with a server, a chain and people of its own: most of the
time of a fault is waiting.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from bench.money.cluster import REPOSITORY, Cluster, temporary_cluster

COUNT = 500
WORLDS = int(os.environ.get("BENCH_FAULTS_WORLDS", os.cpu_count() or 1))
SECONDS_MAX = float(os.environ.get("BENCH_FAULTS_SECONDS", "7200"))
ENVIRONMENT = {
    "EARNINGS_HOLDING_SECONDS": "2",
    "EPOCH_CHALLENGE_SECONDS": "1",
    "STAKE_ROUND_SECONDS": "5",
}


def measure(count: int = COUNT, seed: int = 1) -> dict[str, Any]:
    """Figures for `docs/benchmarks/faults.json`. `BENCH_FAULTS_SECONDS` ends a run early."""
    began = time.monotonic()
    shares = [len(range(world, count, WORLDS)) for world in range(WORLDS)]
    with ExitStack() as servers, ThreadPoolExecutor(WORLDS) as threads:
        clusters = [servers.enter_context(temporary_cluster()) for _ in shares]
        seeds = range(seed, seed + WORLDS)
        rows = threads.map(faults_of_a_world, clusters, shares, seeds, [began] * WORLDS)
        found = [row for of_one in rows for row in of_one]
        settings = clusters[0].settings()
    return summary(found, count, seed) | {
        "worlds": WORLDS,
        "seconds": round(time.monotonic() - began),
        "server": settings,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
    }


def faults_of_a_world(
    cluster: Cluster, count: int, seed: int, began: float
) -> list[dict[str, Any]]:
    """What `bench.nemesis.run` found on this server, a fault a row."""
    cluster.migrate()
    command = [sys.executable, "-m", "bench.nemesis.run", str(cluster.folder)]
    run = subprocess.Popen(
        [*command, str(count), str(seed)],
        cwd=REPOSITORY,
        env=cluster.environment() | ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: list[dict[str, Any]] = []
    assert run.stdout is not None
    for line in run.stdout:
        found.append(json.loads(line))
        if time.monotonic() - began > SECONDS_MAX:
            run.terminate()
            break
    run.wait(120)
    return found


def summary(found: list[dict[str, Any]], count: int, seed: int) -> dict[str, Any]:
    """The whole run, and a line for each kind."""
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        by_kind[row["kind"]].append(row)
    seconds = sorted(row["seconds_until_clean"] for row in found)
    return {
        "faults": len(found),
        "asked_for": count,
        "target_faults": COUNT,
        "kinds": len(by_kind),
        "seed": seed,
        "lost": sum(bool(row["lost"]) for row in found),
        "doubled": sum(bool(row["doubled"]) for row in found),
        "clean_within_120_s": sum(row["clean"] for row in found),
        "froze_payouts": sum(bool(row["froze_payouts"]) for row in found),
        "seconds_until_clean": {
            "median": statistics.median(seconds) if seconds else 0.0,
            "longest": seconds[-1] if seconds else 0.0,
        },
        "by_kind": {
            kind: {
                "faults": len(rows),
                "lost": sum(bool(row["lost"]) for row in rows),
                "doubled": sum(bool(row["doubled"]) for row in rows),
                "froze_payouts": sum(bool(row["froze_payouts"]) for row in rows),
                "longest_seconds": max(row["seconds_until_clean"] for row in rows),
            }
            for kind, rows in sorted(by_kind.items())
        },
        "not_clean": [row for row in found if not row["clean"] or row["lost"] or row["doubled"]],
    }
