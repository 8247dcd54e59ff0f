"""Attacks on the payout rule: what an attacker gains, undefended and defended.

Each attack is a real run on the embedded base: the rows are trained, indexed and asked about, and
each answer's fee is split, by the product's own code. `BENCH_FOLDER` keeps what was trained, so
that a broken run goes on; without it a folder of its own is used. Scores are those of a model that
has not been calibrated (calibrating every attacked world would cost hours).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.manipulation.market import Market
from bench.manipulation.suite import ATTACKS, Figures, Suite

SEED = 11
TABLE = Path("docs/benchmarks/attacks.md")


def measure() -> dict[str, Any]:
    """Figures for `docs/benchmarks/attacks.json`."""
    kept = os.environ.get("BENCH_FOLDER")
    with tempfile.TemporaryDirectory(prefix="bench-attacks-") as name:
        folder = Path(kept or name)
        folder.mkdir(parents=True, exist_ok=True)
        return _measured(folder)


def _measured(folder: Path) -> dict[str, Any]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")
    django.setup()  # the fee is split by the ledger's own code; no database is asked
    suite = Suite(Market(folder), SEED)
    figures = {
        name: {rule: round(figure, 3) for rule, figure in found.items()}
        for name, found in suite.measure().items()
    }
    TABLE.write_text(page(figures, suite), encoding="utf-8")
    return figures


def page(figures: Mapping[str, Figures], suite: Suite) -> str:
    low, high = suite.spread("defended")
    lines = []
    for attack in ATTACKS:
        figure = figures[attack.name]
        lines.append(
            f"| {attack.name} | {attack.said} | {attack.figure} | {figure['undefended']:.2f} | "
            f"{figure['defended']:.2f} | {attack.target} | {attack.verdict(figure['defended'])} |"
        )
    return (
        "# Attacks on the payout rule\n\n"
        "Written by `python -m bench attacks --json docs/benchmarks/attacks.json`; what it\n"
        "means is said in [docs/attribution.md](../attribution.md).\n\n"
        f"{len(suite.rows)} rows of {len({row.contributor for row in suite.rows})} contributors, "
        f"{len(suite.own)} of them the attacker's; {len(suite.questions)} answers are sold for the "
        f"same fee each. Every attack is trained anew. Gains are over the mean of "
        f"{suite.size.honest_seeds} honest runs, whose own incomes of the attacker lie between "
        f"{low:.2f} and {high:.2f} of that mean: chance alone moves a gain as far.\n\n"
        "| attack | what is done | figure | undefended | defended | target | met |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )
