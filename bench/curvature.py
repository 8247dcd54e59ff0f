"""Choices of curvature against retraining: the same adapter, rows and bytes per record for each.

64 records, 16 halves of them retrained to report on and 4 to choose the damping by (about ten
minutes on two quiet cores; `BENCH_FOLDER` keeps what is trained). Every choice is folded into the
query before sketching; the rows that are stored are one and the same, int8.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import (
    FULL,
    PlanSize,
    drain,
    prepare,
    read_plan,
    token_answers,
)
from bench.influence.exchange import BYTES_PER_RECORD
from bench.influence.tasks import Bench
from bench.influence.world import WorldSize

SEED = 1
WORLD = WorldSize(
    places=10, health=0, noise=4, contributors=8, fitting_questions=6, reported_questions=10
)
PLAN = PlanSize(fitting=4, reported=16, ceiling=0, seeds=1, calibrations=0)
DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of the mean eigenvalue, which is small: a block has more coordinates than records."""
SKETCH_SEED = 20_261_123

_NAMES = {"graddot, unit norm": "cosine"}

Float64 = npt.NDArray[np.float64]
Blocks = dict[tuple[str, str], Float64]


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Figures for `docs/benchmarks/curvature.json`."""
    folder = folder or Path(os.environ.get("BENCH_FOLDER", ".local/bench/curvature"))
    prepare(folder, SEED, WORLD, PLAN)
    wanted = [item for item in read_plan(folder) if item.name.startswith((FULL, "fit-", "lds-"))]
    plan = json.dumps([asdict(item) for item in wanted])
    (folder / "plan.json").write_text(plan, encoding="utf-8")
    drain(folder)
    return compare(folder)


def compare(folder: Path) -> dict[str, Any]:
    """All choices on a folder whose retrainings are done."""
    bench, scores = Bench(folder), {}
    chosen: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name, settings, took in _scores(folder):
        best = bench.choose(np.array(list(settings.values())))
        chosen[name], scores[name] = list(settings)[best], list(settings.values())[best]
        seconds[name] = round(took, 2)
    lds = {name: bench.lds(found) for name, found in scores.items()}
    return {
        "lds": lds,
        "lds_all": {
            name: round(float(bench.lds_of_each(found, bench.reported_yardstick).mean()), 3)
            for name, found in scores.items()
        },
        "damping": chosen,
        "fold_seconds": seconds,
        "records": len(bench.names),
        "questions": int(bench.reported.sum()),
        "retrainings": len(bench.reported_yardstick.kept),
        "retrainings_to_choose_by": len(bench.yardstick("fit-").kept),
        "bytes_per_record": BYTES_PER_RECORD,
    }


def _scores(folder: Path) -> Iterator[tuple[str, dict[float, Float64], float]]:
    """Each choice: its name, scores [questions, records] by damping, seconds of folding."""
    from modelfactory.attribution.curvature import CHOICES

    world = _Gradients(folder)
    for choice in CHOICES:
        began = time.monotonic()
        dampings = (0.0,) if choice == "graddot" else DAMPINGS
        found = {damping: world.score(choice, damping) for damping in dampings}
        took = (time.monotonic() - began) / len(found)
        for variant in ("", ", unit norm", ", Adam"):
            name = _NAMES.get(choice + variant, choice + variant)
            yield name, {damping: scores[variant] for damping, scores in found.items()}, took
    yield "efim after the sketch (the index's own)", world.of_the_index(), 0.0


class _Gradients:
    """Gradients of records and answers under the whole adapter, by block, and their sketch."""

    def __init__(self, folder: Path) -> None:
        import torch
        from peft import PeftModel
        from safetensors.torch import load_file

        from bench.influence.bank import read_world
        from modelfactory.attribution.factors import kronecker_factors
        from modelfactory.attribution.gradients import lora_modules
        from modelfactory.attribution.sketch import plan_sketch
        from modelfactory.attribution.worker import token_example
        from modelfactory.training.base import load_base
        from modelfactory.training.base_files import SHIPPED_BASE

        torch.set_num_threads(1)
        world = read_world(folder)
        base, tokenizer = load_base(SHIPPED_BASE)
        run = folder / "runs" / FULL
        model = PeftModel.from_pretrained(base, run / "adapter")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        self.modules = lora_modules(model)
        self.model = model
        wordings = 2  # as an index has them
        rows = [
            [token_example(tokenizer, one, 512) for one in list(row.examples())[:wordings]]
            for row in world.rows
        ]
        self.rows = self._of(rows)
        self.queries = self._of([[one] for one in token_answers(folder, world, tokenizer)])
        self.factors = kronecker_factors(model, [one for group in rows for one in group])
        sizes = {module.name: module.size for module in self.modules}
        self.sketch = plan_sketch(sizes, dimensions=BYTES_PER_RECORD, seed=SKETCH_SEED)
        moments = load_file(run / "second_moments.safetensors")
        self.moments = {
            (module.name, part): moments[
                next(key for key in moments if f"{module.name}.lora_{part}." in key)
            ]
            .double()
            .numpy()
            .ravel()
            for module in self.modules
            for part in "AB"
        }
        self.stored = self._stored()

    def _of(self, groups: list[list[Any]]) -> Blocks:
        """[n, size] of each block: the mean over a group's examples."""
        from modelfactory.attribution.gradients import record_gradients

        found: dict[tuple[str, str], list[Float64]] = {}
        for group in groups:
            gradients = record_gradients(self.model, group).modules
            for module in self.modules:
                row, cut = gradients[module.name].double().mean(0).numpy(), self._cut(module)
                found.setdefault((module.name, "A"), []).append(row[:cut])
                found.setdefault((module.name, "B"), []).append(row[cut:])
        return {key: np.array(rows) for key, rows in found.items()}

    @staticmethod
    def _cut(module: Any) -> int:
        return int(module.down.weight.numel())

    def _project(self, blocks: Blocks) -> Float64:
        joined = {
            module.name: np.hstack([blocks[module.name, part] for part in "AB"]).astype(np.float32)
            for module in self.modules
        }
        return np.asarray(self.sketch.project(joined), dtype=np.float64)

    def _stored(self) -> Float64:
        """What an index holds of the records, as floats again [n, k]."""
        from modelfactory.attribution.sketch import quantise_rows

        rows, scales = quantise_rows(self._project(self.rows).astype(np.float32))
        return np.asarray(rows * scales[:, None].astype(np.float64))

    def score(self, choice: Any, damping: float) -> dict[str, Float64]:
        """Plain, in unit norm, and with Adam's scale, from one fold of every block.

        Adam's scale makes ``P`` unsymmetric, so there is no length to divide that by.
        """
        from modelfactory.attribution.curvature import adam_scale, make_fold, unit_norm

        folded: Blocks = {}
        scaled: Blocks = {}
        query_squares = np.zeros(len(next(iter(self.queries.values()))))
        row_squares = np.zeros(len(self.stored))
        for key, rows in self.rows.items():
            fold, queries = make_fold(choice, rows, damping, self.factors[key]), self.queries[key]
            folded[key] = fold(queries)
            scaled[key] = folded[key] * adam_scale(self.moments[key])
            query_squares += (folded[key] * queries).sum(axis=1)
            row_squares += (fold(rows) * rows).sum(axis=1)
        dots = np.asarray(self._project(folded) @ self.stored.T)
        return {
            "": dots,
            ", unit norm": unit_norm(dots, query_squares, row_squares),
            ", Adam": np.asarray(self._project(scaled) @ self.stored.T),
        }

    def of_the_index(self) -> dict[float, Float64]:
        """The damped Fisher of the sketched rows in unit norm, as indexes have it today."""
        from modelfactory.attribution.influence import make_curvature, score

        queries, slices = self._project(self.queries), self.sketch.slices
        found = {}
        for damping in DAMPINGS:
            metric = make_curvature("efim", self.stored, slices, damping)
            found[damping] = np.array([score(query, self.stored, metric) for query in queries])
        return found
