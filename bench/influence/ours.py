"""Our scores in the world of a bench folder, through the product's own code and nothing else."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import bank_file, read_plan, read_world
from bench.influence.exchange import read_questions
from modelfactory.attribution.calibration import calibration_folder
from modelfactory.training.recipe import Example, write_examples

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ours:
    """Scores [questions, records], thresholds [questions] and the calibration's own figures."""

    calibrated: Float64
    uncalibrated: Float64
    thresholds: Float64
    index_seconds: float
    fidelity: dict[str, Any]


@dataclass(frozen=True)
class Seeds:
    """Which of several equal ways to measure: the training's seed and the sketch's."""

    training: int = 1
    sketch: int = 0

    @property
    def place(self) -> str:
        return "ours" if self == Seeds() else f"ours-{self.training}-{self.sketch}"


def prepare_ours(folder: Path, seeds: Seeds = Seeds()) -> tuple[Path, Path, dict[str, Any], float]:
    """Index and calibration of the whole adapter; returns adapters and indexes root, fidelity."""
    place = folder / seeds.place
    adapters, indexes = place / "adapters", place / "indexes"
    run = folder / "runs" / f"full-{seeds.training}"
    final = _keep(run / "adapter", adapters)
    trail = [_keep(path, adapters) for path in sorted((run / "trail").iterdir())]
    shutil.rmtree(indexes, ignore_errors=True)
    indexes.mkdir(parents=True)
    began = time.monotonic()
    shutil.move(_build(folder, place / "build", final, trail, seeds.sketch), indexes / final.name)
    index_seconds = time.monotonic() - began
    prefix, suffix = ("fit-", "") if seeds.training == 1 else ("refit-", f"-{seeds.training}")
    fits = [
        item
        for item in read_plan(folder)
        if item.name.startswith(prefix) and item.name.endswith(suffix)
    ]
    fits = [item for item in fits if bank_file(folder, item.name).exists()]
    subsets = [
        {
            "adapter": str(_keep(folder / "runs" / item.name / "adapter", adapters)),
            "kept": list(item.kept),
        }
        for item in fits
    ]
    calibration, fidelity = _calibrate(
        folder, place / "build", indexes / final.name, final, subsets
    )
    shutil.move(calibration, calibration_folder(indexes, final.name))
    return adapters, indexes, fidelity, index_seconds


def index_bytes(folder: Path) -> int:
    """Of all files of the index that the scores are of."""
    indexes = folder / Seeds().place / "indexes"
    return sum(path.stat().st_size for path in (indexes / _indexed(indexes)).iterdir())


def _build(folder: Path, job: Path, final: Path, trail: list[Path], sketch_seed: int) -> Path:
    """The index of an adapter, by the build that the site runs."""
    from modelfactory.attribution.build import IndexSettings
    from modelfactory.attribution.job import BuildSpec, read_job
    from modelfactory.attribution.worker import run_build
    from modelfactory.training.base_files import SHIPPED_BASE, base_digest

    shutil.rmtree(job, ignore_errors=True)
    job.mkdir(parents=True)
    spec = BuildSpec(
        base=str(SHIPPED_BASE),
        adapter=str(final),
        base_digest=base_digest(SHIPPED_BASE),
        trail=[str(path) for path in trail],
        settings={"seed": IndexSettings().seed + sketch_seed},
    )
    (job / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    write_examples(job / "records.jsonl", read_world(folder).examples())
    run_build(read_job(job), job)
    return job / "index"


def _calibrate(
    folder: Path, job: Path, index: Path, final: Path, subsets: list[dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """A calibration from the questions one may look at, by the fit that the site runs."""
    from modelfactory.attribution.calibrate_job import run_calibration
    from modelfactory.attribution.job import read_calibration_spec
    from modelfactory.training.base_files import SHIPPED_BASE

    said = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    asked = [
        (question, answer)
        for question, answer in zip(read_world(folder).questions, said, strict=True)
        if not question.reported and answer
    ]
    document = {
        "schema": 1,
        "base": str(SHIPPED_BASE),
        "index": str(index),
        "adapter": str(final),
        "subsets": subsets,
    }
    (job / "spec.json").write_text(json.dumps(document), encoding="utf-8")
    (job / "kinds.json").write_text(json.dumps([question.kind for question, _ in asked]))
    write_examples(
        job / "questions.jsonl",
        [Example(question.record_id, question.text, answer) for question, answer in asked],
    )
    _, fidelity = run_calibration(read_calibration_spec(job), job)
    return job / "calibration", fidelity


def our_scores(folder: Path, seeds: Seeds = Seeds()) -> Ours:
    """Ask the attribution worker about every question, with and without the calibration."""
    _, indexes, fidelity, index_seconds = prepare_ours(folder, seeds)
    questions = read_questions(folder / "exchange" / "questions.jsonl")
    calibrated, thresholds = ask(folder, seeds, questions)
    bare = indexes.with_name("indexes-bare")
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(indexes, bare)
    shutil.rmtree(calibration_folder(bare, _indexed(indexes)))
    uncalibrated, _ = ask(folder, seeds, questions, bare)
    return Ours(calibrated, uncalibrated, thresholds, index_seconds, fidelity)


def ask(
    folder: Path, seeds: Seeds, questions: Sequence[dict[str, Any]], indexes: Path | None = None
) -> tuple[Float64, Float64]:
    """Scores [questions, records] and thresholds [questions] by what ``prepare_ours`` left."""
    from modelfactory.attribution.worker import AttributionWorker
    from modelfactory.training.base_files import SHIPPED_BASE

    indexes = indexes or folder / seeds.place / "indexes"
    worker = AttributionWorker(str(SHIPPED_BASE), folder / seeds.place / "adapters", indexes)
    names = [row.record_id for row in read_world(folder).rows]
    digest = _indexed(indexes)
    found = [
        worker.attribute(
            {
                "adapter_digest": digest,
                "prompt_ids": question["prompt_ids"],
                "response_ids": question["response_ids"],
                "question": question["text"].split("\n")[0],
                "parameters": {"listed_records": len(names)},
            }
        )
        for question in questions
    ]
    thresholds = np.array([one.threshold for one in found], dtype=np.float64)
    return _matrix(found, names), thresholds


def _indexed(indexes: Path) -> str:
    """The digest of the adapter that the only index there is of."""
    return next(path.name for path in indexes.iterdir() if "." not in path.name)


def _matrix(found: Sequence[Any], names: Sequence[str]) -> Float64:
    place = {name: number for number, name in enumerate(names)}
    scores = np.zeros((len(found), len(names)))
    for row, attribution in enumerate(found):
        for record in attribution.records:
            scores[row, place[record.record_id]] = record.score
    return scores


def _keep(source: Path, adapters: Path) -> Path:
    """A copy of an adapter under its digest."""
    from modelfactory.training.adapter import adapter_digest

    place = adapters / adapter_digest(source)
    if not place.exists():
        shutil.copytree(source, place)
    return place
