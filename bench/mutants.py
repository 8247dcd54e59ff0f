"""How many of thirty bugs, planted one by one in money code, the suite's own tests catch.

The tree is copied to a scratch folder, so no bug is ever in the working tree. The chosen tests run
there without any bug first: a test that fails by itself would catch everything. A bug counts as
caught when pytest says that a test failed, not when it could not run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.money.cluster import REPOSITORY
from bench.money.planted_bugs import BUGS, PlantedBug

TARGET = 0.9
SECONDS_MAX = 300
TESTS_PASSED, TESTS_FAILED = 0, 1  # pytest's exit codes; all others mean that it could not run
# Installed, not tracked; never written to by a test.
LINKED = (".venv", "rewards/contracts/node_modules")


def measure() -> dict[str, Any]:
    """Figures for `docs/benchmarks/planted_bugs.json`. Raises `ValueError` for a stale list."""
    if stale := stale_bugs(BUGS, REPOSITORY):
        raise ValueError("Mend these in bench/money/planted_bugs.py: " + "; ".join(stale))
    began = time.monotonic()
    with scratch_tree() as tree:
        every_test = sorted({test for bug in BUGS for test in existing_tests(bug)})
        code, last_words = run_tests(tree, every_test, seconds_max=len(BUGS) * SECONDS_MAX)
        if code != TESTS_PASSED:
            raise RuntimeError(f"The tests fail without a planted bug: {last_words}")
        found = [plant(tree, bug) for bug in BUGS]
    caught = sum(row["caught"] for row in found)
    return {
        "planted": len(found),
        "caught_at_first": sum(row["caught_at_first"] for row in found),
        "caught": caught,
        "share": round(caught / len(found), 3),
        "target": TARGET,
        "escaped": [row["name"] for row in found if not row["caught"]],
        "seconds": round(time.monotonic() - began),
        "bugs": found,
    }


def stale_bugs(bugs: tuple[PlantedBug, ...], tree: Path) -> list[str]:
    """What is wrong with the list: each exact text occurs once, and something of it is tested."""
    problems = []
    for bug in bugs:
        times = (tree / bug.file).read_text(encoding="utf-8").count(bug.exact)
        if times != 1:
            problems.append(f"{bug.name}: its text occurs {times} times in {bug.file}")
        if bug.exact == bug.replacement or not existing_tests(bug):
            problems.append(f"{bug.name}: no change, or no test file")
    return problems


def existing_tests(bug: PlantedBug) -> list[str]:
    return [test for test in bug.tests if (REPOSITORY / test.partition("::")[0]).is_file()]


@contextmanager
def scratch_tree() -> Iterator[Path]:
    """A copy of what git knows of the working tree, in a folder that is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-mutants-"))
    folder.chmod(0o755)  # the tests' PostgreSQL drops to a user of its own
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source = REPOSITORY / name
            if source.is_file() and not source.is_symlink():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / name)
        for name in LINKED:
            if (REPOSITORY / name).exists():
                (folder / name).symlink_to((REPOSITORY / name).resolve())
        yield folder
    finally:
        _stop_database(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _stop_database(folder: Path) -> None:
    """The server that the tests started in the copy's own `.local`."""
    from openledger_site.core.local.postgres import _server

    if (folder / ".local" / "postgres" / "postmaster.pid").exists():
        _server(folder / ".local" / "postgres").stop()


def plant(tree: Path, bug: PlantedBug) -> dict[str, Any]:
    """Put one bug into the copy, run its tests, take it out again."""
    place = tree / bug.file
    whole = place.read_text(encoding="utf-8")
    place.write_text(whole.replace(bug.exact, bug.replacement), encoding="utf-8")
    began = time.monotonic()
    try:
        code, last_words = run_tests(tree, existing_tests(bug), seconds_max=SECONDS_MAX)
    finally:
        place.write_text(whole, encoding="utf-8")
    if code not in (TESTS_PASSED, TESTS_FAILED):
        raise RuntimeError(f"The tests of {bug.name} did not run: {last_words}")
    caught = code == TESTS_FAILED
    print(f"{bug.name}: {'caught' if caught else 'ESCAPED'}", file=sys.stderr, flush=True)
    return {
        "name": bug.name,
        "file": bug.file,
        "sentence": bug.sentence,
        "caught_at_first": bug.caught_at_first and caught,
        "caught": caught,
        "by": last_words if caught else "",
        "seconds": round(time.monotonic() - began, 1),
    }


def run_tests(tree: Path, tests: list[str], *, seconds_max: float) -> tuple[int, str]:
    """pytest's exit code in that tree, and the name of the first test that failed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--reuse-db", "-p", "no:randomly"]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "OPENLEDGER_LOCAL_DIR", "DJANGO_SETTINGS_MODULE")
    }
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "TEST_DATABASE_SUFFIX": "_mutants"},
        capture_output=True,
        text=True,
        timeout=seconds_max,
    )
    lines = done.stdout.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return done.returncode, failed[0] if failed else (lines or [done.stderr[-300:]])[-1]
