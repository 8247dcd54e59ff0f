"""`python -m bench NAME --json OUT`: run one benchmark and write its figures as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
from pathlib import Path

import bench


def available() -> list[str]:
    """Names of the modules in this package that have a `measure` function."""
    names = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name for name in names if name != "__main__" and _has_measure(name)]


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=available())
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--count", type=int, help="how many, where a benchmark says so")
    parser.add_argument("--seed", type=int, help="of its random draws, where a benchmark has some")
    arguments = parser.parse_args()
    given = {name: getattr(arguments, name) for name in ("count", "seed")}
    options = {name: value for name, value in given.items() if value is not None}
    figures = importlib.import_module(f"bench.{arguments.name}").measure(**options)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


def _has_measure(name: str) -> bool:
    source = Path(bench.__path__[0], f"{name}.py")
    return source.is_file() and "\ndef measure(" in source.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
