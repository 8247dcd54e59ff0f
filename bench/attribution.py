"""Attribution against published methods, on the same adapter, tokens and modules, by retraining.

The yardstick is retraining: 100 random halves of the records that no method may look at. Settings
of every method (ours and peers' damping) are chosen on other questions and other retrainings.
`BENCH_FOLDER` keeps what is trained (about an hour on two cores), so that a broken run goes on;
`docs/benchmarks/attribution.md` is the table of the committed figures.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import PlanSize, drain, prepare
from bench.influence.exchange import (
    BYTES_PER_RECORD,
    PeerScores,
    read_scores,
    write_exchange,
)
from bench.influence.ours import Ours, index_bytes
from bench.influence.peers_run import run_peers
from bench.influence.tasks import Bench, second_table, table
from bench.influence.world import WorldSize

SEED = 1
LATENCY_RECORDS = (1_000, 10_000, 100_000)
TABLE = Path("docs/benchmarks/attribution.md")

Float64 = npt.NDArray[np.float64]


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Figures for `docs/benchmarks/attribution.json`."""
    folder = folder or Path(os.environ.get("BENCH_FOLDER", ".local/bench/attribution"))
    prepare(folder, SEED, WorldSize(), PlanSize())
    drain(folder)
    place = write_exchange(folder)
    run_peers(place)
    figures = compare(folder, place)
    TABLE.write_text(_page(figures), encoding="utf-8")
    return figures


def compare(folder: Path, place: Path) -> dict[str, Any]:
    """All methods on a folder whose retrainings are done."""
    import torch

    from bench.influence.baselines import baseline_scores
    from bench.influence.contributors import agreement, worth
    from bench.influence.ours import our_scores

    torch.set_num_threads(1)
    bench, peers = Bench(folder), read_scores(place)
    ours = our_scores(folder)
    settings = {one.method: bench.choose(one.scores) for one in peers if one.scores is not None}
    methods: dict[str, Float64] = {
        "calibrated": ours.calibrated,
        "ours, not calibrated": ours.uncalibrated,
        **baseline_scores(folder),
        **{one.method: one.scores[settings[one.method]] for one in peers if one.scores is not None},
    }
    contributors = agreement(bench, methods, {"calibrated": ours.thresholds})
    return {
        "lds": {name: bench.lds(scores) for name, scores in methods.items()},
        "lds_pearson": {name: bench.pearson(scores) for name, scores in methods.items()},
        "lds_lead": {
            name: bench.lead(ours.calibrated, scores)
            for name, scores in methods.items()
            if name != "calibrated"
        },
        "ceiling": bench.ceiling(),
        "removal": bench.removal(methods),
        "contributor_loo_spearman": {name: one["of_fees"] for name, one in contributors.items()},
        "contributor_loo": contributors,
        "contributor_loo_between_seeds": worth(bench).seed_agreement(),
        "tracing": {name: bench.tracing(scores) for name, scores in methods.items()},
        "noise_rows_paid": bench.noise_rows_paid(ours.calibrated, ours.thresholds),
        "false_pay_rate": ours.fidelity["noise_gate"]["false_pay"],
        "calibration": ours.fidelity,
        **_steadiness_and_time(bench, ours),
        "chosen_settings": {
            one.method: one.about["settings"][settings[one.method]]
            for one in peers
            if one.method in settings
        },
        "failed": {one.method: str(one.about["error"]) for one in peers if one.scores is None},
        **_cost_of_indexing(bench, ours, peers),
        "world": _world(bench, ours),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": 1,
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


def _steadiness_and_time(bench: Bench, ours: Ours) -> dict[str, Any]:
    from bench.influence.latency import answer_latency
    from bench.influence.stability import stability
    from bench.scan import measure as measure_scan

    steady, scan = stability(bench, ours), measure_scan()
    latency = [answer_latency(bench.folder, records) for records in LATENCY_RECORDS]
    return {
        "payout_cv": (steady["payout_cv_training"] or {}).get("mean"),
        "sketch_self_agreement": steady["sketch_self_agreement"],
        "stability": steady,
        "scan_1m_ms": scan["scan_1m_ms"],
        "scan_1m_ratio_numpy_fp32": scan["scan_1m_ratio_numpy_fp32"],
        "scan": scan,
        "answer_added_ms_100k": latency[-1]["p50_ms"],
        "answer_latency": latency,
    }


def _cost_of_indexing(bench: Bench, ours: Ours, peers: Sequence[PeerScores]) -> dict[str, Any]:
    return {
        "index_records_per_second": {
            "calibrated": round(_gradients(bench) / ours.index_seconds, 1),
            **{
                one.method: round(one.about["records"] / one.about["index_seconds"], 1)
                for one in peers
                if one.about.get("index_seconds")
            },
        },
        "bytes_per_record": {
            "calibrated": 3 * BYTES_PER_RECORD,
            **{one.method: one.about.get("bytes_per_example") for one in peers},
        },
        # All files of this small index: curvature, words, and the wide rows of its basis.
        "index_bytes_per_record": index_bytes(bench.folder) // len(bench.names),
    }


def _world(bench: Bench, ours: Ours) -> dict[str, Any]:
    return {
        "records": len(bench.names),
        "contributors": len({row.contributor for row in bench.world.rows}),
        "health_rows": sum(row.origin == "health" for row in bench.world.rows),
        "questions_reported": int(bench.reported.sum()),
        "retrainings_reported": len(bench.reported_yardstick.kept),
        "retrainings_for_calibration": ours.fidelity["subsets"],
        "examples": len(bench.world.examples()),
    }


def _gradients(bench: Bench) -> int:
    """Gradients that our index takes: some wordings of each record and the phantoms, each track."""
    from modelfactory.attribution.build import IndexSettings
    from modelfactory.attribution.job import BuildSpec

    wordings = sum(min(IndexSettings().wordings, len(row.wordings())) for row in bench.world.rows)
    return 3 * (wordings + BuildSpec("", "").phantom_count)


def _page(figures: Mapping[str, Any]) -> str:
    world, ceiling = figures["world"], figures["ceiling"]
    kinds = ", ".join(f"{kind} {values[0]:.2f}" for kind, values in ceiling.items())
    between = figures["contributor_loo_between_seeds"]
    steady, latency = figures["stability"], figures["answer_latency"]
    return (
        "# Attribution against published methods\n\n"
        "Written by `python -m bench attribution --json docs/benchmarks/attribution.json`; what\n"
        "the columns mean is said in [docs/attribution.md](../attribution.md).\n\n"
        f"{world['records']} records of {world['contributors']} contributors, "
        f"{world['questions_reported']} questions, {world['retrainings_reported']} retrainings "
        f"that no method saw, {world['retrainings_for_calibration']} for the calibration. "
        f"Retraining with another seed predicts retraining with: {kinds or 'not measured'}. "
        f"One seed's worth of contributors agrees with another's at {between['of_fees']} "
        f"(of fees) and {between['of_nats']} (of nats).\n\n"
        f"{_of_other_runs(figures)}"
        f"{table(figures)}\n"
        "## Not by heaps and ties\n\n"
        "Pearson's correlation, which ties cannot help, and by how much the calibrated score's\n"
        "rank correlation leads on the same questions, with the interval of that difference.\n\n"
        f"{second_table(figures)}\n"
        "## Pay and time\n\n"
        f"- False pay on answers without a source: {figures['false_pay_rate']}; noise rows paid "
        f"{figures['noise_rows_paid']}.\n"
        f"- Scores agree between sketch seeds at {steady['sketch_self_agreement']} "
        f"(calibrated {steady['sketch_self_agreement_calibrated']}), between training seeds at "
        f"{steady['training_self_agreement']}.\n"
        f"- Pay of a contributor varies by {_percent(steady['payout_cv_sketch'])} between sketch "
        f"seeds and by {_percent(steady['payout_cv_training'])} between training seeds; over the "
        f"{steady['epoch_answers']} answers of an epoch, in which every wording of every record is "
        f"asked, by {_percent(steady['epoch_payout_cv_sketch'])} and "
        f"{_percent(steady['epoch_payout_cv_training'])}.\n"
        + "".join(
            f"- An answer of a model with {one['records']:,} records: {one['p50_ms']} ms in the "
            f"worker (95 %: {one['p95_ms']}; processor {one['processor_p50_ms']}).\n"
            for one in latency
        )
        + f"- A scan of a million records: {figures['scan_1m_ms']} ms, "
        f"{figures['scan_1m_ratio_numpy_fp32']} times as fast as fp32 numpy "
        f"({figures['scan']['bandwidth_gb_s']} GB/s memory). Load of the machine: "
        f"{figures['machine']['load_average']}.\n"
    )


def _of_other_runs(figures: Mapping[str, Any]) -> str:
    """Where a committed file was put together of several runs, it says so."""
    lines = [
        f"- {source}: {', '.join(names)}"
        for source, names in figures.get("of_other_runs", {}).items()
    ]
    return "\n".join(["Not of this run:", "", *lines, "", ""]) if lines else ""


def _percent(variation: Mapping[str, float] | None) -> str:
    """A coefficient of variation in words."""
    if variation is None:
        return "an unknown amount"
    return f"{variation['mean']:.1%} (largest {variation['largest']:.1%}, {variation['runs']} runs)"
