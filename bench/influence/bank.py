"""Retrained adapters: what each one thinks of every question. `python -m bench.influence.bank DIR`.

``DIR/world.json`` says what there is, ``DIR/plan.json`` which retrainings; each leaves
``DIR/bank/NAME.npz`` with the log-probability of every question's answer. Several processes may
work on one folder: each retraining is claimed by a lock that ends with its process.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.world import World, WorldSize, make_world
from modelfactory.attribution.subsets import half_subsets

FULL = "full-1"
GIVEN = "given.json"
"""Answers to ask about, where they are not the model's own."""
WORKERS = 2


@dataclass(frozen=True)
class Retraining:
    """One retraining: the records it keeps and the seed of its first weights and order."""

    name: str
    kept: tuple[str, ...]
    seed: int = 1
    keep_adapter: bool = False


@dataclass(frozen=True)
class PlanSize:
    fitting: int = 32
    """Subsets that calibration may look at, in complementary pairs."""
    reported: int = 100
    """Subsets that only measure."""
    ceiling: int = 16
    """So many of the reported ones are run once more with another seed."""
    seeds: int = 3
    """The whole run, and the run without each contributor, with so many seeds."""
    calibrations: int = 3
    """So many of these seeds are calibrated, to see how much of the pay is chance."""


SMALL_PLAN = PlanSize(fitting=8, reported=8, ceiling=2, seeds=1, calibrations=1)


def plan_of(world: World, size: PlanSize) -> list[Retraining]:
    """All retrainings, in the order in which their figures are wanted."""
    names = [row.record_id for row in world.rows]
    whole = tuple(names)
    plan = [Retraining(FULL, whole, 1, True)]
    fitting = _halves(names, size.fitting, "fitting")
    reported = _halves(names, size.reported, "reported")
    fits = [Retraining(f"fit-{at:03d}", kept, 1, True) for at, kept in enumerate(fitting)]
    tests = [Retraining(f"lds-{at:03d}", kept, 1) for at, kept in enumerate(reported)]
    plan += [item for pair in zip(fits, tests, strict=False) for item in pair]
    plan += fits[len(tests) :] + tests[len(fits) :]
    plan += [Retraining(f"full-{seed}", whole, seed, True) for seed in range(2, size.seeds + 1)]
    for seed in range(1, size.seeds + 1):
        for owner in sorted({row.contributor for row in world.rows}):
            kept = tuple(row.record_id for row in world.rows if row.contributor != owner)
            plan.append(Retraining(f"without-{owner}-{seed}", kept, seed))
    plan += [
        Retraining(f"lds-{at:03d}-again", kept, 2)
        for at, kept in enumerate(reported[: size.ceiling])
    ]
    plan += [
        Retraining(f"refit-{at:03d}-{seed}", kept, seed, True)
        for seed in range(2, size.calibrations + 1)
        for at, kept in enumerate(fitting)
    ]
    return plan


def _halves(names: list[str], count: int, seed: str) -> list[tuple[str, ...]]:
    halves = half_subsets(names, count, seed)
    return [tuple(name for name in names if name in half) for half in halves]


def prepare(folder: Path, seed: int, world_size: WorldSize, plan_size: PlanSize) -> World:
    """Write the world of a seed and the plan; an existing folder of the same world goes on."""
    return prepare_world(folder, make_world(seed, world_size), plan_size)


def prepare_world(folder: Path, world: World, plan_size: PlanSize) -> World:
    """As ``prepare``, of a world at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bank").mkdir(exist_ok=True)
    document = json.dumps(world.to_json(), indent=1)
    path = folder / "world.json"
    if path.exists() and path.read_text(encoding="utf-8") != document:
        raise SystemExit(f"{folder} holds another world; use another folder")
    path.write_text(document, encoding="utf-8")
    plan = [asdict(item) for item in plan_of(world, plan_size)]
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return world


def read_world(folder: Path) -> World:
    return World.from_json(json.loads((folder / "world.json").read_text(encoding="utf-8")))


def read_plan(folder: Path) -> list[Retraining]:
    items = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return [Retraining(**{**item, "kept": tuple(item["kept"])}) for item in items]


def extend_plan(folder: Path, more: list[Retraining]) -> None:
    """Add retrainings that only become known from scores; what is planned already stays."""
    plan = {item.name: item for item in [*more, *read_plan(folder)]}
    document = json.dumps([asdict(item) for item in plan.values()])
    (folder / "plan.json").write_text(document, encoding="utf-8")


def drain(folder: Path) -> None:
    """Retrain whatever the plan still lacks, in several processes of one thread each."""
    command = [sys.executable, "-m", "bench.influence.bank", str(folder)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    workers = [subprocess.Popen(command, env=one_thread) for _ in range(WORKERS)]
    ended = [worker.wait() for worker in workers]
    if any(ended):
        raise SystemExit("a retraining failed; start again to go on from what is done")


def bank_file(folder: Path, name: str) -> Path:
    return folder / "bank" / f"{name}.npz"


def results(folder: Path, names: Iterable[str]) -> npt.NDArray[np.float64]:
    """Log-probabilities [retrainings, questions] of finished retrainings."""
    return np.array([np.load(bank_file(folder, name))["log_probabilities"] for name in names])


class Worker:
    """Drains the plan in this process, with the base's tokens and answers read once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.world = folder, read_world(folder)
        self.examples = self.world.examples()

    def drain(self, plan: Iterable[Retraining] | None = None) -> None:
        for item in plan if plan is not None else read_plan(self.folder):
            self._wait_for_answers(item)
            if bank_file(self.folder, item.name).exists():
                continue
            with (self.folder / "bank" / f".{item.name}.lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                if not bank_file(self.folder, item.name).exists():
                    self.run(item)

    def _wait_for_answers(self, item: Retraining) -> None:
        """The whole model comes first: its answers are what the others are asked about."""
        while item.name != FULL and not (self.folder / "answers.json").exists():
            time.sleep(1)

    def run(self, item: Retraining) -> None:
        from modelfactory.attribution.gradients import log_probabilities
        from modelfactory.attribution.retrain import retrain

        began = time.monotonic()
        place = self.folder / "runs" / item.name
        shutil.rmtree(place, ignore_errors=True)
        model, tokenizer = retrain(self._recipe(item.seed), self.examples, set(item.kept), place)
        if item.name == FULL:
            self._write_answers(model, tokenizer)
        found = log_probabilities(model, self._answers(tokenizer))
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
        if not item.keep_adapter:
            shutil.rmtree(place, ignore_errors=True)
        draft = self.folder / "bank" / f".{item.name}.npz"
        np.savez(draft, log_probabilities=found, seconds=time.monotonic() - began)
        os.replace(draft, bank_file(self.folder, item.name))
        print(
            json.dumps({"done": item.name, "seconds": round(time.monotonic() - began, 1)}),
            flush=True,
        )

    def _recipe(self, seed: int) -> Any:
        return bench_recipe(seed)

    def _write_answers(self, model: Any, tokenizer: Any) -> None:
        """What the whole model answers is what all attribution is about; or what `GIVEN` says."""
        from modelfactory.training.chat import messages_for
        from modelfactory.training.evaluate import answers

        given = self.folder / GIVEN
        if given.exists():
            said = json.loads(given.read_text(encoding="utf-8"))
        else:
            said = answers(model, tokenizer, [messages_for(q.text) for q in self.world.questions])
        path = self.folder / "answers.json"
        path.write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")

    def _answers(self, tokenizer: Any) -> list[Any]:
        return token_answers(self.folder, self.world, tokenizer)


def bench_recipe(seed: int, **changes: Any) -> Any:
    """The bench's recipe: `balanced` with a higher rate, smaller batches and no context examples.

    Six facts about one place are harder to keep apart than one: with the preset itself half of the
    rewordings are answered wrong, and a wrong answer has no source to be found.
    """
    from modelfactory.training.base_files import SHIPPED_BASE
    from modelfactory.training.recipe import recipe_for

    return recipe_for(
        "balanced",
        str(SHIPPED_BASE),
        seed=seed,
        **{
            "learning_rate": 8e-3,
            "batch_size": 12,
            "context_fraction": 0.0,
            "checkpoint_every_steps": 1_000_000,
            **changes,
        },
    )


def token_answers(folder: Path, world: World, tokenizer: Any) -> list[Any]:
    """Every question with the whole model's answer, as tokens; an empty answer is its end mark."""
    from modelfactory.attribution.worker import token_example
    from modelfactory.training.recipe import Example

    said = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return [
        token_example(tokenizer, Example(question.record_id, question.text, answer), 512)
        for question, answer in zip(world.questions, said, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, help="make the folder first, with this world")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments.seed is not None:
        prepare(arguments.folder, arguments.seed, WorldSize(), PlanSize())
    Worker(arguments.folder).drain()


if __name__ == "__main__":
    main()
