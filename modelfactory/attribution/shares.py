"""The payout rule, in integers only, so that anybody can replay a receipt to the same parts.

``S_j`` is the score of cluster j's canonical record, never the sum over its copies, so copying
a row earns nothing. With a noise threshold ``τ`` and an optional clip ``c``::

    S⁺_j = max(0, min(S_j, c) - τ)        share_j = S⁺_j / Σ S⁺

When nothing is above the threshold the answer has *no attributable source* and the caller's
fallback rule applies. Rounding is by largest remainder; ties go to the smaller identifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

PARTS = 1_000_000_000
"""Shares are integer parts of this many."""

SplitWithinCluster = Literal["first_owner", "equal_owners"]


@dataclass(frozen=True)
class RecordScore:
    """One scored record. ``cluster`` is the record id of the cluster's canonical (oldest) row."""

    record_id: str
    owner: str
    cluster: str
    score: int


@dataclass(frozen=True)
class PayoutRule:
    """The governed parameters of a split; ``threshold`` and ``clip`` are in score units."""

    threshold: int
    clip: int | None = None
    within_cluster: SplitWithinCluster = "first_owner"


@dataclass(frozen=True)
class Shares:
    """Parts per billion by record and by owner; both sum to ``PARTS``, or are empty."""

    attributable: bool
    record_parts: dict[str, int]
    owner_parts: dict[str, int]


NO_ATTRIBUTABLE_SOURCE = Shares(attributable=False, record_parts={}, owner_parts={})


def largest_remainder(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Split ``total`` in proportion to non-negative integer ``weights``, exactly.

    Hamilton's method: everybody gets the floor of the exact quota, the units left over go to
    the largest remainders, equal remainders to the smaller key. Keys of zero weight get zero.

    Raises ``ValueError`` for a negative total or weight, or when all weights are zero.
    """
    if total < 0 or any(weight < 0 for weight in weights.values()):
        raise ValueError("a split needs a non-negative total and non-negative weights")
    weight_sum = sum(weights.values())
    if weight_sum == 0:
        raise ValueError("a split needs at least one positive weight")
    quotas = {key: divmod(total * weight, weight_sum) for key, weight in weights.items()}
    parts = {key: floor for key, (floor, _) in quotas.items()}
    left_over = total - sum(parts.values())
    by_remainder = sorted(quotas, key=lambda key: (-quotas[key][1], key))
    for key in by_remainder[:left_over]:
        parts[key] += 1
    return parts


def _clusters(scores: Iterable[RecordScore]) -> dict[str, list[RecordScore]]:
    clusters: dict[str, list[RecordScore]] = {}
    seen: set[str] = set()
    for score in scores:
        if type(score.score) is not int:
            raise TypeError(f"the score of record {score.record_id} is not an integer")
        if score.record_id in seen:
            raise ValueError(f"record {score.record_id} is scored twice")
        seen.add(score.record_id)
        clusters.setdefault(score.cluster, []).append(score)
    return clusters


def _payees(members: list[RecordScore], cluster: str, rule: PayoutRule) -> dict[str, str]:
    """Which record is paid for each owner of a cluster: {owner: record id}."""
    canonical = next(member for member in members if member.record_id == cluster)
    payees = {canonical.owner: canonical.record_id}
    if rule.within_cluster == "equal_owners":
        for member in sorted(members, key=lambda member: member.record_id):
            payees.setdefault(member.owner, member.record_id)
    return payees


def compute_shares(scores: Iterable[RecordScore], rule: PayoutRule) -> Shares:
    """Turn integer scores into integer parts per billion, by the rule of this module.

    A cluster is paid by the score of its canonical row; a cluster whose canonical row is not
    among ``scores`` is paid nothing. Inside a cluster the first owner takes all, or the
    distinct owners take equal parts (never a part per copy).
    """
    clusters = _clusters(scores)
    weights: dict[str, int] = {}
    for cluster, members in clusters.items():
        canonical = next((row for row in members if row.record_id == cluster), None)
        if canonical is None:
            continue
        clipped = canonical.score if rule.clip is None else min(canonical.score, rule.clip)
        if clipped > rule.threshold:
            weights[cluster] = clipped - rule.threshold
    if not weights:
        return NO_ATTRIBUTABLE_SOURCE
    record_parts: dict[str, int] = {}
    owner_parts: dict[str, int] = {}
    for cluster, parts in largest_remainder(PARTS, weights).items():
        payees = _payees(clusters[cluster], cluster, rule)
        for owner, part in largest_remainder(parts, dict.fromkeys(payees, 1)).items():
            record_parts[payees[owner]] = part
            owner_parts[owner] = owner_parts.get(owner, 0) + part
    return Shares(attributable=True, record_parts=record_parts, owner_parts=owner_parts)
