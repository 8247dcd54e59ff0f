"""Which rows teach something wrong? Found by the answers that they make less likely.

Twenty facts are taught with an answer that belongs to another row of the same kind, so that a
wrong row reads as well as a right one. A curator has a question with the *right* answer for every
fact, in a wording that is never trained. A method scores each row by its summed influence on the
right answers; the lowest are called wrong. Text alone cannot know: it has no sign.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.influence.bank import GIVEN, PlanSize, prepare_world
from bench.influence.world import Question, Row, World, WorldSize, make_world
from datanets.wordings import held_out_wordings

Float64 = npt.NDArray[np.float64]
WRONG = 20
SEED = 7
PLAN = PlanSize(fitting=32, reported=0, ceiling=0, seeds=1, calibrations=1)
WORLD = WorldSize()


def spoilt_world(seed: int = SEED, size: WorldSize = WORLD, wrong: int = WRONG) -> World:
    """A world in which ``wrong`` rows have each other's answers; the rest is as `make_world` says.

    Its questions ask for every fact in a held-out wording; every second one is reported.
    """
    world, rng = make_world(seed, size), random.Random(f"wrong-{seed}")
    by_kind: dict[str, list[int]] = {}
    for at, row in enumerate(world.rows):
        if row.origin == "place" and held_out_wordings(row.question):
            by_kind.setdefault(_kind(row), []).append(at)
    chosen: list[list[int]] = []
    kinds = sorted(by_kind)
    rng.shuffle(kinds)
    while sum(map(len, chosen)) < wrong and kinds:
        group = by_kind[kinds.pop()]
        chosen.append(rng.sample(group, min(4, len(group), wrong - sum(map(len, chosen)))))
    rows = list(world.rows)
    for group in (group for group in chosen if len(group) > 1):
        for at, other in zip(group, [*group[1:], group[0]], strict=True):
            rows[at] = replace(world.rows[at], answer=world.rows[other].answer)
    asked = [row for row in world.rows if row.origin != "noise" and held_out_wordings(row.question)]
    questions = tuple(
        Question(
            "rewording", bool(number % 2), held_out_wordings(row.question)[0].text, row.record_id
        )
        for number, row in enumerate(asked)
    )
    return World(tuple(rows), questions)


def _kind(row: Row) -> str:
    """The question without its place, the one name in it."""
    first, *rest = row.question.split()
    return " ".join([first, *(word for word in rest if word.islower())])


def prepare_mislabelled(folder: Path) -> tuple[World, npt.NDArray[np.bool_]]:
    """Write the spoilt world; returns it and which of its rows are wrong [records]."""
    right, world = make_world(SEED, WORLD), spoilt_world()
    answers = {row.record_id: row.answer for row in right.rows}
    folder.mkdir(parents=True, exist_ok=True)
    given = [answers[question.record_id] for question in world.questions]
    (folder / GIVEN).write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")
    prepare_world(folder, world, PLAN)
    return world, np.array([row.answer != answers[row.record_id] for row in world.rows])


def auc(harm: Float64, wrong: npt.NDArray[np.bool_]) -> float:
    """The chance that a wrong row has more harm than a right one; ties count half."""
    above = harm[wrong][:, None] - harm[~wrong][None, :]
    return float((np.sign(above) + 1).mean() / 2)


def detection(scores: Float64, world: World, wrong: npt.NDArray[np.bool_]) -> float:
    """AUC over the rows that a reported question asks about; scores are [questions, records]."""
    reported = np.array([question.reported for question in world.questions])
    about = {question.record_id for question in world.questions if question.reported}
    counted = np.array([row.record_id in about for row in world.rows])
    harm = -scores[reported].sum(axis=0)
    return round(auc(harm[counted], wrong[counted]), 3)
