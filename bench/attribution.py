"""Attribution against published methods, on the same adapter, tokens and modules, by retraining.

The yardstick is retraining: 100 random halves of the records that no method may look at. Settings
of every method (ours and peers' damping) are chosen on other questions and other retrainings.
`BENCH_FOLDER` keeps what is trained (about an hour on two cores), so that a broken run goes on;
`docs/benchmarks/attribution.md` is the table of the committed figures.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import PlanSize, prepare
from bench.influence.exchange import read_scores, write_exchange
from bench.influence.peers_run import run_peers
from bench.influence.tasks import Bench, table
from bench.influence.world import WorldSize

SEED = 1
WORKERS = 2
TABLE = Path("docs/benchmarks/attribution.md")

Float64 = npt.NDArray[np.float64]


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Figures for `docs/benchmarks/attribution.json`."""
    folder = folder or Path(os.environ.get("BENCH_FOLDER", ".local/bench/attribution"))
    prepare(folder, SEED, WorldSize(), PlanSize())
    _drain(folder)
    place = write_exchange(folder)
    run_peers(place)
    figures = compare(folder, place)
    TABLE.write_text(_page(figures), encoding="utf-8")
    return figures


def _drain(folder: Path) -> None:
    """Retrain in several processes of one thread each."""
    command = [sys.executable, "-m", "bench.influence.bank", str(folder)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    workers = [subprocess.Popen(command, env=one_thread) for _ in range(WORKERS)]
    if any(worker.wait() for worker in workers):
        raise SystemExit("a retraining failed; start again to go on from what is done")


def compare(folder: Path, place: Path) -> dict[str, Any]:
    """All methods on a folder whose retrainings are done."""
    import torch

    from bench.influence.baselines import baseline_scores
    from bench.influence.ours import our_scores

    torch.set_num_threads(1)
    bench = Bench(folder)
    ours = our_scores(folder)
    methods: dict[str, Float64] = {
        "calibrated": ours.calibrated,
        "ours, not calibrated": ours.uncalibrated,
        **baseline_scores(folder),
    }
    failed, chosen, about = {}, {}, {}
    for peer in read_scores(place):
        about[peer.method] = peer.about
        if peer.scores is None:
            failed[peer.method] = str(peer.about["error"])
            continue
        setting = bench.choose(peer.scores)
        chosen[peer.method] = peer.about["settings"][setting]
        methods[peer.method] = peer.scores[setting]
    seen = bench.yardstick("lds-")
    examples = len(bench.world.examples())
    return {
        "lds": {name: bench.lds(scores) for name, scores in methods.items()},
        "ceiling": bench.ceiling(),
        "removal": bench.removal(methods),
        "contributor_loo_spearman": _contributors(bench, methods, ours.thresholds),
        "tracing": {name: bench.tracing(scores) for name, scores in methods.items()},
        "noise_rows_paid": bench.noise_rows_paid(ours.calibrated, ours.thresholds),
        "false_pay_rate": ours.fidelity["noise_gate"]["false_pay"],
        "calibration": ours.fidelity,
        "chosen_settings": chosen,
        "failed": failed,
        "index_records_per_second": {
            "calibrated": round(_gradients(bench) / ours.index_seconds, 1),
            **{
                name: round(one["records"] / one["index_seconds"], 1)
                for name, one in about.items()
                if one.get("index_seconds")
            },
        },
        "answer_seconds": round(ours.query_seconds, 3),
        "bytes_per_record": {
            "calibrated": 3 * 4096,
            **{name: one.get("bytes_per_example") for name, one in about.items()},
        },
        "world": {
            "records": len(bench.names),
            "contributors": len({row.contributor for row in bench.world.rows}),
            "health_rows": sum(row.origin == "health" for row in bench.world.rows),
            "questions_reported": int(bench.reported.sum()),
            "retrainings_reported": len(seen.kept),
            "retrainings_for_calibration": ours.fidelity["subsets"],
            "examples": examples,
        },
        "machine": {"processor": platform.processor() or platform.machine(), "threads": 1},
    }


def _gradients(bench: Bench) -> int:
    """Gradients that our index takes: some wordings of each record and the phantoms, each track."""
    from modelfactory.attribution.build import IndexSettings
    from modelfactory.attribution.job import BuildSpec

    wordings = sum(min(IndexSettings().wordings, len(row.wordings())) for row in bench.world.rows)
    return 3 * (wordings + BuildSpec("", "").phantom_count)


def _contributors(
    bench: Bench, methods: Mapping[str, Float64], thresholds: Float64
) -> dict[str, float]:
    """Spearman of pay against measured value; ours pays by its thresholds, others above zero."""
    return {
        name: bench.contributor_spearman(
            bench.pay(scores, thresholds if name == "calibrated" else None)
        )
        for name, scores in methods.items()
    }


def _page(figures: Mapping[str, Any]) -> str:
    world, ceiling = figures["world"], figures["ceiling"]
    kinds = ", ".join(f"{kind} {values[0]:.2f}" for kind, values in ceiling.items())
    return (
        "# Attribution against published methods\n\n"
        "Written by `python -m bench attribution --json docs/benchmarks/attribution.json`; what\n"
        "the columns mean is said in [docs/attribution.md](../attribution.md).\n\n"
        f"{world['records']} records of {world['contributors']} contributors, "
        f"{world['questions_reported']} questions, {world['retrainings_reported']} retrainings "
        f"that no method saw, {world['retrainings_for_calibration']} for the calibration. "
        f"Retraining with another seed predicts retraining with: {kinds or 'not measured'}.\n\n"
        f"{table(figures)}"
    )
