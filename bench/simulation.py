"""A thousand simulated days of attackers on the payout rule, through the site's own services.

Four equal markets run side by side: a model, its customers, contributors, stakers, and one person
of interest, who in the first market is honest. In the others the same person, with the same start,
deals with themselves, splits into twenty accounts, or moves stake about. A day is a round of paid
answers and of the clock's tasks; every fiftieth day pays stakers and closes an epoch on a real
chain. The services take the time from the database, so the refund window is set to no seconds and
a day is no longer than its work. `--count` names another number of days.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from bench.money.cluster import REPOSITORY, temporary_cluster

DAYS = 1_000
ENVIRONMENT = {
    "EARNINGS_HOLDING_SECONDS": "0",
    "EPOCH_CHALLENGE_SECONDS": "0",
    "STAKE_ROUND_SECONDS": "0",
    "STAKE_APPEAL_SECONDS": "0",
    "STAKE_UNBONDING_SECONDS": "1",
}


def measure(count: int = DAYS, seed: int = 1) -> dict[str, Any]:
    """Figures for `docs/benchmarks/simulation.json`."""
    with temporary_cluster() as cluster:
        cluster.migrate()
        done = subprocess.run(
            [sys.executable, "-m", "bench.money.simulation_run", str(count), str(seed)],
            check=True,
            cwd=REPOSITORY,
            env=cluster.environment() | ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        settings = cluster.settings()
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures | {
        "target_days": DAYS,
        "seed": seed,
        "server": settings,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
    }
