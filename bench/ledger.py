"""How many postings a second our ledger commits, beside other ledgers on the same server.

Real PostgreSQL on a cluster of its own, fsync on. `plain` is one posting a commit between random
pairs of accounts, `batched` is `post_many`, `hot` has every posting end on the one platform
account. Peers do the same transfers with the same number of client processes, in turns with ours
so that what else the machine does hits all of them. A peer that cannot run is shown with its error.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.influence.peers_run import environment
from bench.money.client import ACCOUNTS, BATCH
from bench.money.cluster import Cluster, temporary_cluster
from bench.money.load import Load, run_clients

PEERS = Path(__file__).parent / "money" / "peers"
MODES = ("plain", "hot", "batched", "hot_batched")
CLIENTS = 8
CLIENTS_WITH_BATCHES = 4  # a batch keeps its accounts locked until its commit
SECONDS = 5.0
ROUNDS = 2


def measure() -> dict[str, Any]:
    """Figures for `docs/benchmarks/ledger.json`."""
    with temporary_cluster() as cluster:
        cluster.migrate()
        ours = [sys.executable, "-m", "bench.money.client"]
        subprocess.run([*ours, "prepare"], check=True, env=cluster.environment())
        peers, failed = _prepare_peers(cluster)
        runs: dict[str, dict[str, list[Load]]] = {}
        for _ in range(ROUNDS):
            for mode in MODES:
                _note(runs, "ours", mode, _run([*ours, mode], cluster, _clients(mode)))
            for name, command in peers.items():
                for mode in ("plain", "hot"):
                    _note(
                        runs, name, mode, _run([*command, mode, *_database(name, cluster)], cluster)
                    )
        settings = cluster.settings()
    mine = {mode: _median(loads) for mode, loads in runs.pop("ours").items()}
    theirs = {
        name: {mode: _median(loads) for mode, loads in found.items()}
        for name, found in runs.items()
    }
    return {
        "tx_s_plain": mine["plain"]["tx_s"],
        "tx_s_batched": mine["batched"]["tx_s"],
        "tx_s_hot": mine["hot"]["tx_s"],
        "tx_s_hot_batched": mine["hot_batched"]["tx_s"],
        "peer_tx_s": {name: found["plain"]["tx_s"] for name, found in theirs.items()},
        "peers_failed": failed,
        "ratio_plain": {
            name: round(mine["plain"]["tx_s"] / found["plain"]["tx_s"], 2)
            for name, found in theirs.items()
        },
        "ratio_batched": {
            name: round(mine["batched"]["tx_s"] / found["plain"]["tx_s"], 2)
            for name, found in theirs.items()
        },
        "ours": mine,
        "peers": theirs,
        "accounts": ACCOUNTS,
        "postings_a_batch": BATCH,
        "rounds": ROUNDS,
        "seconds_a_run": SECONDS,
        "server": settings,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),  # clients and server included
    }


def _prepare_peers(cluster: Cluster) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Commands of the peers that work, and why the others do not."""
    ready, failed = {}, {}
    for name in ("hordak", "naive"):
        script = str(PEERS / f"{name}_peer.py")
        wanted = PEERS / f"requirements-{name}.txt"
        try:
            python = str(environment(name, wanted)) if wanted.exists() else sys.executable
            cluster.new_database(name)
            subprocess.run(
                [python, script, "prepare", *_database(name, cluster)],
                check=True,
                capture_output=True,
                text=True,
            )
            ready[name] = [python, script]
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()
            failed[name] = said[-1][:300] if said else "died"
    return ready, failed


def _database(name: str, cluster: Cluster) -> list[str]:
    return ["--database", cluster.url.replace("/postgres?", f"/{name}?")]


def _clients(mode: str) -> int:
    return CLIENTS_WITH_BATCHES if "batched" in mode else CLIENTS


def _run(command: list[str], cluster: Cluster, clients: int = CLIENTS) -> Load:
    return run_clients(command, cluster.environment(), clients=clients, seconds=SECONDS)


def _note(runs: dict[str, dict[str, list[Load]]], name: str, mode: str, load: Load) -> None:
    print(f"{name} {mode}: {load.tx_s:.0f} tx/s", file=sys.stderr, flush=True)
    runs.setdefault(name, {}).setdefault(mode, []).append(load)


def _median(loads: list[Load]) -> dict[str, float]:
    """The run in the middle, with the lowest and the highest beside it."""
    ordered = sorted(loads, key=lambda load: load.tx_s)
    middle = statistics.median_low([load.tx_s for load in ordered])
    chosen = next(load for load in ordered if load.tx_s == middle)
    return {
        **chosen.as_dict(),
        "lowest": round(ordered[0].tx_s, 1),
        "highest": round(ordered[-1].tx_s, 1),
    }
