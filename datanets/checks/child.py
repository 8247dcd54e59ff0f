"""The checking child: `python -m datanets.checks.child`, started only by `sandbox.check_upload`.

It gets parsed rows as standard input and open descriptors, and locks itself in like the parsing
child: rows are still a stranger's text, and patterns run over it.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from datanets.parsing import confine
from datanets.parsing.result import Limits, Row
from datanets.parsing.row_lines import encode_row

if TYPE_CHECKING:
    from datanets.checks.first_pass import Checked

_PROGRESS_EVERY_SECONDS = 0.1
_SCAN_BYTES = 1 << 20
# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The only number outside of texts; a quote inside a text would have a backslash before it.
_OWN_NUMBER = re.compile(rb'"number": [0-9]+')


def _may_hold_personal_data(rows: IO[bytes]) -> bool:
    """A look at the raw lines: whether the recognisers, which cost seconds to load, are needed."""
    from datanets.checks.looks import may_hold_personal_data

    found = False
    while not found and (lines := rows.readlines(_SCAN_BYTES)):
        text = _OWN_NUMBER.sub(b"", b"".join(lines))
        found = may_hold_personal_data(text.decode("utf-8", errors="replace"))
    rows.seek(0)
    return found


def _rehearse(rows: IO[bytes], judge_language: bool) -> None:
    """Check rows of our own, so that all that is imported late is there before the lock."""
    from datanets.checks import language, personal_data
    from datanets.checks.check_rows import RowChecker
    from datanets.checks.first_pass import check_batch

    if _may_hold_personal_data(rows):
        personal_data.load()
    if judge_language:
        language.load()
    answer = "It needs two rows that differ in one word and prose long enough to be measured."
    rehearsed = [
        Row(
            kind="instruction",
            number=at + 1,
            instruction="What does it need?",
            response=f"{answer} {at}",
        )
        for at in range(language.ROWS_MIN)
    ]
    prose = "\n".join([f"{answer} This is line {at} of the text." for at in range(8)])
    rehearsed.append(Row(kind="text", number=1, text=prose))
    rehearsed.append(Row(kind="text", number=2, text=f"Größe {prose}"))  # its codec is a module
    late = io.BytesIO()
    lines = [encode_row(row) for row in rehearsed]
    RowChecker(io.BytesIO(), late).check([check_batch(1, lines, {}, judge_language=judge_language)])
    if b"near_duplicate" not in late.getvalue():
        raise RuntimeError("The rehearsal did not go through the whole of the checks.")


def _check(task: dict[str, Any], rows: IO[bytes]) -> dict[str, Any]:
    from datanets.checks.check_rows import RowChecker
    from datanets.checks.first_pass import check_batch
    from datanets.checks.shared_pass import shared_pass, start_helper, worth_sharing

    judge_language: bool = task["judge_language"]
    _rehearse(rows, judge_language)
    with os.fdopen(task["scratch"], "rb", closefd=False) as decided:
        decisions = json.loads(decided.read() or b"{}")
    # Only now: some libraries ask for their working folder when imported. It is our root from here.
    os.rmdir(os.getcwd())

    def lock(parent: int) -> None:
        held = confine.lock(parent)
        if not any("network" in name or name == "seccomp" for name in task["held"] + held):
            os._exit(confine.EXIT_NO_SANDBOX)

    def check(first: int, lines: list[bytes]) -> Checked:
        return check_batch(first, lines, decisions, judge_language=judge_language)

    helper = None
    if worth_sharing(task["total"]):
        not_its = [task[name] for name in ("rows", "late", "report", "scratch", "progress")]
        helper = start_helper(rows, lock, check, not_its)
    lock(task["parent"])
    total, pipe = max(1, task["total"]), task["progress"]
    next_report = 0.0

    def on_progress(count: int) -> None:
        nonlocal next_report
        now = time.monotonic()
        if now >= next_report:
            next_report = now + _PROGRESS_EVERY_SECONDS
            os.write(pipe, json.dumps([min(1.0, count / total), count]).encode() + b"\n")

    rows_out = io.BufferedRandom(io.FileIO(task["rows"], "r+", closefd=False))
    late = io.BufferedWriter(io.FileIO(task["late"], "w", closefd=False))
    checker = RowChecker(rows_out, late, on_progress)
    return {"rows": checker.check(shared_pass(rows, check, helper))}


def _keep_freed_memory() -> None:
    """What one batch has freed serves the next, instead of going back to the kernel each time."""
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_TRIM_THRESHOLD, 512 << 20)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)


def main() -> None:
    task = json.loads(sys.argv[1])
    _keep_freed_memory()
    confine.die_with_parent(task["parent"])
    confine.limit_resources(Limits(**task["limits"]))
    task["held"] = confine.leave_network()
    with os.fdopen(0, "rb") as rows:
        report = _check(task, rows)
    with os.fdopen(task["report"], "wb", closefd=False) as report_out:
        report_out.write(json.dumps(report).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
