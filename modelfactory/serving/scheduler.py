"""Who is admitted next: pure functions over plain data, asked by the engine before each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Schedulable(Protocol):
    """What the scheduler looks at."""

    @property
    def tenant(self) -> str: ...
    @property
    def adapter_digest(self) -> str | None: ...
    @property
    def submitted_at(self) -> float: ...


@dataclass(frozen=True)
class Limits:
    """``aging_seconds``: a request that has waited this long is not overtaken by younger ones."""

    slots: int
    adapters_per_step: int
    aging_seconds: float = 2.0


Item = TypeVar("Item", bound=Schedulable)


def choose(
    waiting: Sequence[Item], running: Sequence[Schedulable], limits: Limits, now: float
) -> list[Item]:
    """Which of the waiting requests (their adapters in memory) to admit now, in order.

    The tenant with the fewest running requests goes first, then the oldest request. A request whose
    adapter is one too many for a step is skipped, not waited for, until it is old; then nobody
    younger is admitted before it. The base is no adapter and is never counted.
    """
    load = Counter(item.tenant for item in running)
    adapters = {item.adapter_digest for item in running} - {None}
    free = limits.slots - len(running)
    left = sorted(waiting, key=lambda item: item.submitted_at)
    chosen: list[Item] = []

    def fits(item: Item) -> bool:
        known = item.adapter_digest is None or item.adapter_digest in adapters
        return known or len(adapters) < limits.adapters_per_step

    while free > len(chosen) and left:
        if not fits(left[0]) and now - left[0].submitted_at > limits.aging_seconds:
            break
        possible = [item for item in left if fits(item)]
        if not possible:
            break
        best = min(possible, key=lambda item: (load[item.tenant], item.submitted_at))
        chosen.append(best)
        left.remove(best)
        load[best.tenant] += 1
        if best.adapter_digest is not None:
            adapters.add(best.adapter_digest)
    return chosen
