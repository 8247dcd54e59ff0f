"""Do contributors get what their rows are worth? Pay against leaving their rows out.

Every reported answer earns the same fee, split among contributors. What a contributor's rows are
worth is measured by repeating the run without them, with several seeds:

- **of fees**: the split that the measurement itself would make: each answer's fee in proportion to
  how much less likely it became without the contributor's rows, never below zero. That is what pay
  claims to estimate, and the headline.
- **of nats**: the summed change of log-probability of all answers. One answer that collapses by 20
  nats outweighs ten that lose one, though all eleven earn the same fee, so pay cannot follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import bank_file, results
from bench.influence.tasks import Bench
from bench.influence.world import World
from modelfactory.attribution.calibrate import spearman

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Worth:
    """Nats that reported answers lose without each contributor: [seeds, contributors, answers]."""

    owners: tuple[str, ...]
    losses: Float64

    def of_nats(self) -> Float64:
        """[contributors]"""
        return np.asarray(self.losses.mean(axis=0).sum(axis=1))

    def of_fees(self) -> Float64:
        """[contributors]: shares of all fees, summing to one."""
        return fee_shares(self.losses.mean(axis=0))

    def seed_agreement(self) -> dict[str, float | None]:
        """Spearman between one seed's measurement and another's: what a perfect method can reach
        against one seed; nothing for a single seed."""
        pairs = list(combinations(range(len(self.losses)), 2))
        if not pairs:
            return {"of_fees": None, "of_nats": None, "fees_to_another": None}
        fees = [fee_shares(one) for one in self.losses]
        nats = self.losses.sum(axis=2)
        return {
            "of_fees": _mean([spearman(fees[a], fees[b]) for a, b in pairs]),
            "of_nats": _mean([spearman(nats[a], nats[b]) for a, b in pairs]),
            "fees_to_another": _mean([_moved(fees[a], fees[b]) for a, b in pairs]),
        }


def _moved(one: Float64, other: Float64) -> float:
    """The share of all fees that goes to another contributor in one split than in the other."""
    return float(np.abs(one - other).sum() / 2)


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)


def fee_shares(amounts: Float64) -> Float64:
    """Equal fees split in proportion to amounts [contributors, answers], none below zero.

    Nobody is paid for an answer in which nobody has a positive amount.
    """
    positive = np.maximum(amounts, 0)
    totals = positive.sum(axis=0, keepdims=True)
    parts = np.divide(positive, totals, out=np.zeros_like(positive), where=totals > 0)
    paid = parts.sum(axis=1)
    return np.asarray(paid / paid.sum() if paid.sum() else paid)


def worth(bench: Bench) -> Worth:
    """Of the seeds whose retrainings are all done. Raises ``ValueError`` when there is none."""
    owners = tuple(sorted({row.contributor for row in bench.world.rows}))
    losses = []
    for seed in range(1, 10):
        names = [f"full-{seed}", *(f"without-{owner}-{seed}" for owner in owners)]
        if all(bank_file(bench.folder, name).exists() for name in names):
            whole, *without = results(bench.folder, names)
            losses.append((whole - np.array(without))[:, bench.reported])
    if not losses:
        raise ValueError("no seed has been retrained without every contributor")
    return Worth(owners, np.array(losses))


def pay(bench: Bench, scores: Float64, thresholds: Float64 | None = None) -> Float64:
    """[contributors]: equal fees for reported answers by what exceeds the thresholds, or zero."""
    cut = np.zeros(len(scores)) if thresholds is None else thresholds
    return pay_of(bench.world, np.maximum(scores - cut[:, None], 0)[bench.reported])


def pay_of(world: World, above: Float64) -> Float64:
    """[contributors]: an equal fee for each answer, split by what its rows have [answers, rows]."""
    rows = [row.contributor for row in world.rows]
    owners = sorted(set(rows))
    by_owner = np.zeros((len(owners), len(above)))
    for at, owner in enumerate(rows):
        by_owner[owners.index(owner)] += above[:, at]
    return fee_shares(by_owner)


def agreement(
    bench: Bench, methods: Mapping[str, Float64], thresholds: Mapping[str, Float64]
) -> dict[str, dict[str, Any]]:
    """By method: Spearman of pay with both kinds of worth, and the share of all fees that went to
    another contributor than the measurement says."""
    measured = worth(bench)
    found = {}
    for name, scores in methods.items():
        paid = pay(bench, scores, thresholds.get(name))
        found[name] = {
            "of_fees": round(spearman(paid, measured.of_fees()), 3),
            "of_nats": round(spearman(paid, measured.of_nats()), 3),
            "fees_to_another": round(_moved(paid, measured.of_fees()), 3),
        }
    return found
