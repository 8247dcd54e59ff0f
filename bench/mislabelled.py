"""Wrong rows found by what they do to right answers, beside published methods.

As `python -m bench attribution`, in a world of its own. `MISLABELLED_FOLDER` keeps what is trained
(about ten minutes on two cores). The slowest peers are left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.influence.bank import drain
from bench.influence.baselines import baseline_scores
from bench.influence.exchange import read_scores, write_exchange
from bench.influence.mislabelled import detection, prepare_mislabelled
from bench.influence.ours import our_scores
from bench.influence.peers_run import run_peers
from bench.influence.tasks import Bench

PEERS = ("bergson", "kronfluence", "minilm", "text", "traker")


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Figures for `docs/benchmarks/mislabelled.json`: AUC by method, 0.5 for chance."""
    import torch

    torch.set_num_threads(1)
    folder = folder or Path(os.environ.get("MISLABELLED_FOLDER", ".local/bench/mislabelled"))
    world, wrong = prepare_mislabelled(folder)
    drain(folder)
    place = write_exchange(folder)
    run_peers(place, PEERS)
    bench, ours, peers = Bench(folder), our_scores(folder), read_scores(place)
    methods = {
        "calibrated": ours.calibrated,
        "ours, not calibrated": ours.uncalibrated,
        **baseline_scores(folder),
        **{one.method: one.scores[bench.choose(one.scores)] for one in peers
           if one.scores is not None},
    }  # fmt: skip
    found = {name: detection(scores, world, wrong) for name, scores in methods.items()}
    return {
        "auc": dict(sorted(found.items(), key=lambda item: -item[1])),
        "failed": {one.method: str(one.about["error"]) for one in peers if one.scores is None},
        "rows": len(world.rows),
        "wrong_rows": int(wrong.sum()),
        "right_answers_asked": sum(question.reported for question in world.questions),
        "retrainings_for_calibration": ours.fidelity["subsets"],
    }
