"""From scores and the yardstick to figures: LDS, removal, contributor value, false pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import (
    Retraining,
    bank_file,
    drain,
    extend_plan,
    read_plan,
    read_world,
    results,
)
from bench.influence.world import KINDS, Question
from modelfactory.attribution.calibrate import interval, spearman

Float64 = npt.NDArray[np.float64]
TRACED = ("trained", "rewording")
CEILING_PAIRS = 8
REMOVED = {"1%": 0.01, "5%": 0.05}


@dataclass(frozen=True)
class Yardstick:
    """What retraining says: membership [M, n] (0 or 1) and log-probabilities [M, q] of a bank."""

    kept: Float64
    log_probabilities: Float64


def reported_once(questions: Sequence[Question]) -> list[bool]:
    """Which questions figures are taken of: no text twice, and none that settings may be chosen on.

    Unseen ones are drawn from few templates, so that some come again.
    """
    asked = {question.text for question in questions if not question.reported}
    found = []
    for question in questions:
        found.append(question.reported and question.text not in asked)
        asked.add(question.text)
    return found


class Bench:
    """A folder's world and retrainings, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.world = folder, read_world(folder)
        self.plan = {item.name: item for item in read_plan(folder)}
        self.names = [row.record_id for row in self.world.rows]
        self.kinds = np.array([question.kind for question in self.world.questions])
        self.reported = np.array(reported_once(self.world.questions))
        self.fitted = np.array([not question.reported for question in self.world.questions])
        self.sources = [
            self.names.index(question.record_id) if question.record_id else -1
            for question in self.world.questions
        ]

    def yardstick(self, prefix: str) -> Yardstick:
        names = [
            name
            for name in self.plan
            if name.startswith(prefix)
            and not name.endswith("again")
            and bank_file(self.folder, name).exists()
        ]
        kept = [set(self.plan[name].kept) for name in names]
        rows = [[float(record in some) for record in self.names] for some in kept]
        return Yardstick(np.array(rows), results(self.folder, names))

    @cached_property
    def reported_yardstick(self) -> Yardstick:
        """The retrainings that only measure."""
        return self.yardstick("lds-")

    def lds_of_each(self, scores: Float64, yardstick: Yardstick) -> Float64:
        """Spearman of predicted and real log-probability over the bank, for each question [q]."""
        said = yardstick.kept @ scores.T
        truth = yardstick.log_probabilities
        return np.array([spearman(said[:, at], truth[:, at]) for at in range(scores.shape[0])])

    def lds(self, scores: Float64) -> dict[str, list[float]]:
        return self._by_kind(self.lds_of_each(scores, self.reported_yardstick))

    def pearson(self, scores: Float64) -> dict[str, list[float]]:
        """As ``lds`` with Pearson's correlation, which ties cannot help.

        An answer known by heart is likely or not by whether *one* row was kept, so its
        log-probabilities fall into two heaps of equal size. A score that names that row and calls
        all others equal gets a rank correlation of √3/2 by its ties; to rank inside the heaps by
        anything uncertain costs some of that.
        """
        yardstick = self.reported_yardstick
        said = (yardstick.kept - yardstick.kept.mean(axis=0)) @ scores.T
        truth = yardstick.log_probabilities - yardstick.log_probabilities.mean(axis=0)
        lengths = np.sqrt((said**2).sum(axis=0) * (truth**2).sum(axis=0))
        dots = (said * truth).sum(axis=0)
        return self._by_kind(np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0))

    def lead(self, ours: Float64, theirs: Float64) -> dict[str, list[float]]:
        """By how much our LDS is above theirs, on the same questions: mean and interval."""
        yardstick = self.reported_yardstick
        return self._by_kind(
            self.lds_of_each(ours, yardstick) - self.lds_of_each(theirs, yardstick)
        )

    def _by_kind(self, each: Float64) -> dict[str, list[float]]:
        """Mean and interval over the reported questions of each kind."""
        return {
            kind: interval(each[(self.kinds == kind) & self.reported].tolist()) for kind in KINDS
        }

    def choose(self, settings: Float64) -> int:
        """The setting that does best on the questions and retrainings one may look at."""
        fitting = self.yardstick("fit-")
        means = [self.lds_of_each(one, fitting)[self.fitted].mean() for one in settings]
        return int(np.argmax(means))

    def ceiling(self) -> dict[str, list[float]]:
        """How well retraining with one seed predicts retraining with another: what they share.

        No bound on a score: one that knew the mean over seeds would reach the square root of it.
        """
        pairs = [
            (name.removesuffix("-again"), name)
            for name in self.plan
            if name.endswith("-again") and bank_file(self.folder, name).exists()
        ]
        if len(pairs) < CEILING_PAIRS:  # a rank correlation of a few points says nothing
            return {}
        one = results(self.folder, [first for first, _ in pairs])
        other = results(self.folder, [second for _, second in pairs])
        return self._by_kind(
            np.array([spearman(one[:, at], other[:, at]) for at in range(one.shape[1])])
        )

    def traced(self, reported: bool = True) -> npt.NDArray[np.intp]:
        """Questions that have a source: the reported ones, or those one may look at."""
        asked = self.reported if reported else self.fitted
        return np.flatnonzero(asked & np.isin(self.kinds, TRACED))

    def tracing(self, scores: Float64) -> dict[str, float]:
        """Mean reciprocal rank and recall at 10 of the record a question is about."""
        ranks = []
        for at in self.traced():
            better = (scores[at] > scores[at][self.sources[at]]).sum()
            ranks.append(int(better) + 1)
        found = np.array(ranks)
        return {
            "mrr": round(float((1 / found).mean()), 3),
            "recall_at_1": round(float((found <= 1).mean()), 3),
            "recall_at_10": round(float((found <= 10).mean()), 3),
        }

    def totals(self, scores: Float64, answers: npt.NDArray[np.intp], scaled: bool) -> Float64:
        """What each record is held responsible for over answers together: [records].

        As the method says, or ``scaled``: in units of each answer's largest score, so that no
        answer outweighs the others.
        """
        chosen = scores[answers]
        if not scaled:
            return np.asarray(chosen.sum(axis=0))
        scale = np.abs(chosen).max(axis=1, keepdims=True)
        parts = np.divide(chosen, scale, out=np.zeros_like(chosen), where=scale > 0)
        return np.asarray(parts.sum(axis=0))

    def better_scaled(self, scores: Float64) -> bool:
        """Whether a method's scores add up better in units of each answer's largest: decided by
        the questions and retrainings one may look at, for scores in nats need it least."""
        answers, fitting = self.traced(reported=False), self.yardstick("fit-")
        truth = fitting.log_probabilities[:, answers].sum(axis=1)
        plain, scaled = (
            spearman(fitting.kept @ self.totals(scores, answers, way), truth)
            for way in (False, True)
        )
        return scaled >= plain

    def best_records(self, scores: Float64, share: float) -> tuple[str, ...]:
        """The records that a method holds responsible for the reported, sourced answers together,
        added up the way that serves the method better (``better_scaled``)."""
        total = self.totals(scores, self.traced(), self.better_scaled(scores))
        count = max(1, round(share * len(self.names)))
        return tuple(self.names[at] for at in np.argsort(-total, kind="stable")[:count])

    def removal(self, methods: Mapping[str, Float64]) -> dict[str, dict[str, float]]:
        """Retrain without each method's best records, with several seeds: the mean loss of
        log-probability (nats) of sourced answers."""
        wanted: dict[tuple[str, ...], str] = {}
        for scores in methods.values():
            for share in REMOVED.values():
                best = tuple(sorted(self.best_records(scores, share)))
                wanted.setdefault(best, "removed-" + "-".join(name[-3:] for name in best))
        seeds = range(1, self.seeds() + 1)
        extend_plan(
            self.folder,
            [
                Retraining(
                    _seeded(name, seed), tuple(one for one in self.names if one not in best), seed
                )
                for best, name in wanted.items()
                for seed in seeds
            ],
        )
        drain(self.folder)

        def loss(scores: Float64, share: float) -> float:
            name = wanted[tuple(sorted(self.best_records(scores, share)))]
            whole = results(self.folder, [f"full-{seed}" for seed in seeds])
            after = results(self.folder, [_seeded(name, seed) for seed in seeds])
            return round(float((whole - after)[:, self.traced()].mean()), 4)

        return {
            method: {label: loss(scores, share) for label, share in REMOVED.items()}
            for method, scores in methods.items()
        }

    def seeds(self) -> int:
        """With how many seeds the whole run is planned."""
        return sum(name.startswith("full-") for name in self.plan)

    def noise_rows_paid(self, scores: Float64, thresholds: Float64) -> float:
        """Share of (answer, noise row) pairs in which the noise row is paid."""
        noise = [at for at, row in enumerate(self.world.rows) if row.origin == "noise"]
        above = scores[self.reported][:, noise] > thresholds[self.reported][:, None]
        return round(float(above.mean()), 4)


def _seeded(name: str, seed: int) -> str:
    return name if seed == 1 else f"{name}-seed-{seed}"


def table(figures: Mapping[str, Any]) -> str:
    """The figures as a markdown table, best first."""
    lines = [
        "| method | trained | rewording | unseen | contributors: fees | nats | fees to another |"
        " top 1 % | top 5 % | MRR |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    def cell(values: Sequence[float]) -> str:
        mean, low, high = values
        return f"{mean:.2f} ({low:.2f} to {high:.2f})"

    order = sorted(
        figures["lds"], key=lambda name: -sum(v[0] for v in figures["lds"][name].values())
    )
    for name in order:
        lds, removal = figures["lds"][name], figures["removal"].get(name, {})
        lines.append(
            "| "
            + " | ".join(
                [
                    f"**{name}**" if name == "calibrated" else name,
                    *(cell(lds[kind]) for kind in KINDS),
                    *_contributor_cells(figures, name),
                    *(f"{removal[label]:.3f}" if label in removal else "" for label in REMOVED),
                    f"{figures['tracing'][name]['mrr']:.2f}",
                ]
            )
            + " |"
        )
    failed = [f"- {name}: {error}" for name, error in figures["failed"].items()]
    return "\n".join([*lines, *(["", "Could not run:", "", *failed] if failed else [])]) + "\n"


def _contributor_cells(figures: Mapping[str, Any], name: str) -> list[str]:
    found = figures["contributor_loo"][name]
    return [
        f"{found['of_fees']:.2f}",
        f"{found['of_nats']:.2f}",
        f"{found['fees_to_another']:.0%}",
    ]


def second_table(figures: Mapping[str, Any]) -> str:
    """Pearson's correlation and the lead of the calibrated score, best first, as markdown."""
    lines = [
        "| method | Pearson: trained | rewording | unseen | lead: trained | rewording | unseen |",
        "|---|---|---|---|---|---|---|",
    ]
    pearson = figures["lds_pearson"]
    for name in sorted(pearson, key=lambda one: -sum(v[0] for v in pearson[one].values())):
        leads = figures["lds_lead"].get(name)
        cells = [f"{pearson[name][kind][0]:.2f}" for kind in KINDS]
        for kind in KINDS:
            if leads is None:
                cells.append("")
            else:
                mean, low, high = leads[kind]
                cells.append(f"{mean:+.2f} ({low:+.2f} to {high:+.2f})")
        title = f"**{name}**" if name == "calibrated" else name
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
