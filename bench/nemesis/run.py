"""The process that `bench faults` measures: `python -m bench.nemesis.run FOLDER COUNT SEED`."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from bench.nemesis.world import World

CLEAN_SECONDS_MAX = 120
BEFORE_FAULT_SECONDS_MAX = 0.15


def main() -> None:
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    django.setup()
    from bench.money.cluster import Cluster
    from bench.nemesis.world import World
    from rewards.chain.local import LocalChain, LocalChainSettings, free_port

    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        world = World.make(Cluster(folder), chain, seed)
        try:
            inject(world, count, random.Random(seed))
        finally:
            world.end()


def inject(world: World, count: int, draw: random.Random) -> None:
    """One line of JSON a fault on stdout, so that a run that is cut short has its figures too."""
    from bench.nemesis.kinds import KINDS

    until_clean(world, {})
    names = sorted(KINDS)
    draw.shuffle(names)
    known: dict[str, int] = defaultdict(int)
    for number in range(count):
        name = names[number % len(names)]
        print(json.dumps(one_fault(world, name, draw, known)), flush=True)


def one_fault(
    world: World, name: str, draw: random.Random, known: dict[str, int]
) -> dict[str, Any]:
    """Money moves, a fault comes at any moment, everything is asked again until it is known."""
    from bench.nemesis.kinds import KINDS
    from bench.nemesis.world import Flow

    commands = world.commands()
    twice = name == "same commands at two payers"
    others = commands if twice else world.commands()
    flows = [Flow(world, world.payers[0], commands), Flow(world, world.payers[1], others)]
    for flow in flows:
        flow.start()
    world.deposit(draw.randint(10**16, 10**17))
    time.sleep(draw.random() * BEFORE_FAULT_SECONDS_MAX)
    began = time.monotonic()
    KINDS[name](world)
    for flow in flows:
        flow.join(CLEAN_SECONDS_MAX)
    stuck = sum(flow.is_alive() for flow in flows)
    clean, differences, report = until_clean(world, known)
    new = {what: wei - known[what] for what, wei in differences.items() if wei != known[what]}
    known.update(differences)
    print(f"{name}: {time.monotonic() - began:.1f} s {new or ''}", file=sys.stderr, flush=True)
    return {
        "kind": name,
        "seconds_until_clean": round(time.monotonic() - began, 2),
        "clean": clean and not stuck,
        "lost": {what: -wei for what, wei in new.items() if wei < 0},
        "doubled": {what: wei for what, wei in new.items() if wei > 0},
        "froze_payouts": lift_freezes(),
        "problems": [] if clean else report,
    }


def until_clean(world: World, known: dict[str, int]) -> tuple[bool, dict[str, int], list[str]]:
    """Seal blocks and look, until reconcile finds nothing and everybody has what is theirs."""
    from django.db import close_old_connections

    from rewards.services import reconcile

    deadline = time.monotonic() + CLEAN_SECONDS_MAX
    differences: dict[str, int] = {}
    problems = ["never looked"]
    while time.monotonic() < deadline:
        close_old_connections()
        world.clock.revive()
        try:
            world.chain.mine(2)
            report = reconcile()
            differences = world.differences()
            found = report.problems.items()
            problems = [
                report.reason,
                *(f"{name}: {text}" for name, all_ in found for text in all_),
            ]
            if report.ok and all(wei == known.get(what, 0) for what, wei in differences.items()):
                with suppress(Exception):
                    world.claim()
                return True, differences, []
        except Exception as problem:  # whatever the fault left behind: look again
            problems = [f"{type(problem).__name__}: {problem}"[:300]]
        time.sleep(0.05)
    return False, differences, [*problems[:8], json.dumps(differences)]


def lift_freezes() -> int:
    """As a person does who has seen that the books are clean; how many there were."""
    from django.db.models.functions import Now

    from rewards.models import PayoutFreeze

    return int(PayoutFreeze.objects.filter(lifted_at__isnull=True).update(lifted_at=Now()))


if __name__ == "__main__":
    main()
