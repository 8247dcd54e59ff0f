"""What a row of a larger index keeps of a gradient: a random sketch, or coordinates along axes.

400 records are trained once on the embedded base. Their gradients and those of 60 answers are taken
whole, so that scores with nothing left out are at hand (about 0.5 GB). Both projections then have
the same number of figures a row. `seeds` is how well two seeds agree on the order of an answer's
scores, `exact` how well a seed agrees with whole gradients, `first` how often both name the same
record. Minutes on one core; `BENCH_FOLDER` keeps what is trained.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import FULL, PlanSize, Worker, prepare, read_plan, read_world
from bench.influence.world import WorldSize
from modelfactory.attribution.axes import AxesFinder
from modelfactory.attribution.curvature import damped_fisher, unit_norm
from modelfactory.attribution.index import Projection
from modelfactory.attribution.sketch import plan_sketch

SEED = 1
SIZE = WorldSize(places=60, health=36, contributors=40, fitting_questions=20, reported_questions=20)
DIMENSIONS = (4096, 2048)
DAMPING = 0.1

Float64 = npt.NDArray[np.float64]
Gradients = Mapping[str, npt.NDArray[np.float32]]


def measure(folder: Path | None = None) -> dict[str, Any]:
    """Figures for `docs/benchmarks/projection.json`."""
    import torch

    torch.set_num_threads(1)
    folder = folder or Path(os.environ.get("BENCH_FOLDER", ".local/bench/projection"))
    plan = PlanSize(fitting=0, reported=0, ceiling=0, seeds=1, calibrations=0)
    world = prepare(folder, SEED, SIZE, plan)
    Worker(folder).drain([item for item in read_plan(folder) if item.name == FULL])
    trained, asked, shapes = _gradients(folder)
    figures: dict[str, Any] = {
        "records": len(world.rows),
        "answers": len(next(iter(asked.values()))),
    }
    for dimensions in DIMENSIONS:
        figures[str(dimensions)] = _compared(trained, asked, shapes, dimensions)
    return figures


def _gradients(folder: Path) -> tuple[Gradients, Gradients, Any]:
    """Whole gradients of records (mean of two wordings) and of answers, and the layers' shapes."""
    from bench.influence.bank import token_answers
    from modelfactory.attribution.build import project_gradients
    from modelfactory.attribution.gradients import lora_modules
    from modelfactory.attribution.subjects import load_tracks
    from modelfactory.attribution.worker import record_examples
    from modelfactory.training.base import load_base
    from modelfactory.training.base_files import SHIPPED_BASE

    world = read_world(folder)
    base, tokenizer = load_base(SHIPPED_BASE)
    model, _ = load_tracks(base, folder / "runs" / FULL / "adapter")
    answers = token_answers(folder, world, tokenizer)
    reported = [at for at, question in enumerate(world.questions) if question.reported]
    records = [
        record_examples(tokenizer, list(row.examples()), 512, 2).examples for row in world.rows
    ]
    layers = lora_modules(model)
    sizes = {layer.name: layer.size for layer in layers}
    whole = plan_sketch(sizes, dimensions=sum(sizes.values()), seed=0)  # each number is its own

    def taken(groups: list[Any]) -> Gradients:
        (rows,) = project_gradients(model, [whole], groups, batch_size=16)
        return {
            module.name: rows[:, part]
            for module, part in zip(whole.modules, whole.slices, strict=True)
        }

    shapes = {layer.name: layer.shapes for layer in layers}
    return taken(records), taken([(answers[at],) for at in reported]), shapes


def _compared(
    trained: Gradients, asked: Gradients, shapes: Any, dimensions: int
) -> dict[str, dict[str, float]]:
    sizes = {name: rows.shape[1] for name, rows in trained.items()}
    exact = _scores(list(trained.values()), list(asked.values()), dimensions)
    found = {}
    for name in ("sketch", "axes"):
        runs, began = [], time.process_time()
        for seed in (1, 2):
            sketch = plan_sketch(sizes, dimensions=dimensions, seed=seed)
            projection: Projection = sketch
            if name == "axes":
                finder = AxesFinder(sketch, shapes)
                finder.add(trained)
                projection = finder.found()
            rows, queries = projection.project(trained), projection.project(asked)
            own, others = (
                [values[:, part] for part in sketch.slices] for values in (rows, queries)
            )
            runs.append(_scores(own, others, dimensions))
        found[name] = {
            "seeds": _agreement(*runs),
            "exact": _agreement(runs[0], exact),
            "first": round(float((runs[0].argmax(axis=1) == exact.argmax(axis=1)).mean()), 3),
            "processor_seconds": round((time.process_time() - began) / 2, 1),
        }
    return found


def _scores(rows: list[Any], queries: list[Any], dimensions: int) -> Float64:
    """Cosines [answers, records] in the metric of the damped Fisher, by the records' products.

    Each layer weighs the same; the damper is of the mean eigenvalue over ``dimensions`` numbers.
    """
    own, width = 0.0, dimensions / len(rows)
    dots, squares = np.zeros((len(queries[0]), len(rows[0]))), np.zeros(len(queries[0]))
    for given, asked in zip(rows, queries, strict=True):
        length = np.sqrt(np.square(given, dtype=np.float64).sum() / len(given) / width) or 1.0
        z, q = given.astype(np.float64) / length, asked.astype(np.float64) / length
        fold = damped_fisher(z, DAMPING * z.shape[1] / width)
        folded = fold(q)
        dots += folded @ z.T
        squares += (folded * q).sum(axis=1)
        own = own + (fold(z) * z).sum(axis=1)
    return unit_norm(dots, squares, np.asarray(own))


def _agreement(one: Float64, other: Float64) -> float:
    from modelfactory.attribution.calibrate import spearman

    return round(float(np.mean([spearman(a, b) for a, b in zip(one, other, strict=True)])), 3)
