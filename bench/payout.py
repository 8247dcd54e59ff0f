"""One epoch for a million contributors: tree, proofs and posting through the site's own code.

The people, their wallets and their earnings are made first and not timed. Timed are `close_epoch`
(lock, post, payouts, leaf file, root), rebuilding the tree from the public file and taking every
proof from it; claims are then made on anvil against that root, and of the same people against
another distributor. `BENCH_CONTRIBUTORS` names another number, for a quick try.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from bench.money.cluster import REPOSITORY, temporary_cluster

CONTRIBUTORS = int(os.environ.get("BENCH_CONTRIBUTORS", "1000000"))


def measure() -> dict[str, Any]:
    """Figures for `docs/benchmarks/payout.json`."""
    with temporary_cluster() as cluster:
        cluster.migrate()
        command = [sys.executable, "-m", "bench.money.payout_run", str(CONTRIBUTORS)]
        done = subprocess.run(
            command,
            check=True,
            cwd=REPOSITORY,
            env=cluster.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        settings = cluster.settings()
    return {
        **figures,
        "server": settings,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
    }
