"""How much of the pay is chance, alone: what `bench attribution` says of seeds, in less time.

Only the retrainings that calibrations need, for more training seeds than the whole bench has.
`BENCH_FOLDER` keeps what is trained, so that a broken run goes on.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from bench.influence.bank import PlanSize, drain, extend_plan, plan_of, prepare
from bench.influence.exchange import write_exchange
from bench.influence.tasks import Bench
from bench.influence.world import WorldSize

SEED = 1
TRAININGS = 3


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Pay between training seeds and between sketch seeds, and what calibration says of itself."""
    import torch

    from bench.influence.ours import our_scores
    from bench.influence.stability import stability

    torch.set_num_threads(1)
    folder = folder or Path(os.environ.get("BENCH_FOLDER", ".local/bench/stability"))
    least = PlanSize(reported=0, ceiling=0, seeds=1, calibrations=1)
    world = prepare(folder, SEED, WorldSize(), least)
    every = plan_of(world, PlanSize(seeds=TRAININGS, calibrations=TRAININGS))
    extend_plan(folder, [one for one in every if one.name.startswith(("full-", "refit-"))])
    drain(folder)
    write_exchange(folder)
    bench = Bench(folder)
    ours = our_scores(folder)
    steady = stability(bench, ours)
    return {
        "payout_cv": (steady["payout_cv_training"] or {}).get("mean"),
        "sketch_self_agreement": steady["sketch_self_agreement"],
        "false_pay_rate": ours.fidelity["noise_gate"]["false_pay"],
        "stability": steady,
        "calibration": ours.fidelity,
        "records": len(world.rows),
        "contributors": len({row.contributor for row in world.rows}),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "load_average": round(os.getloadavg()[0], 1),
        },
    }
