"""The checking child: `python -m datanets.checks.child`, started only by `sandbox.check_upload`.

It gets parsed rows as standard input and open descriptors, and locks itself in like the parsing
child: rows are still a stranger's text, and patterns run over it.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from typing import IO, Any

from datanets.parsing import confine
from datanets.parsing.result import Limits, Row
from datanets.parsing.row_lines import encode_row

_PROGRESS_EVERY_SECONDS = 0.1
_SCAN_BYTES = 1 << 20
# JSON writes a tab or a line break inside a text as an escape; the patterns read it as space.
_ESCAPED_SPACE = re.compile(r"\\(?:[tnrfb]|u00[01][0-9a-f])")


def _may_hold_personal_data(rows: IO[bytes]) -> bool:
    """A look at the raw lines: whether the recognisers, which cost seconds to load, are needed."""
    from datanets.checks.personal_data import MAY_HOLD_SOME

    found, before = False, ""
    while not found and (chunk := rows.read(_SCAN_BYTES)):
        text = before + _ESCAPED_SPACE.sub(" ", chunk.decode("utf-8", errors="replace"))
        found, before = MAY_HOLD_SOME.search(text) is not None, text[-32:]
    rows.seek(0)
    return found


def _rehearse(rows: IO[bytes], judge_language: bool) -> None:
    """Check rows of our own, so that all that is imported late is there before the lock."""
    from datanets.checks import language, personal_data
    from datanets.checks.check_rows import RowChecker

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
    RowChecker(io.BytesIO(), late).check(map(encode_row, rehearsed), judge_language=judge_language)
    if b"near_duplicate" not in late.getvalue():
        raise RuntimeError("The rehearsal did not go through the whole of the checks.")


def _check(task: dict[str, Any], rows: IO[bytes]) -> dict[str, Any]:
    from datanets.checks.check_rows import RowChecker

    judge_language: bool = task["judge_language"]
    _rehearse(rows, judge_language)
    with os.fdopen(task["scratch"], "rb", closefd=False) as decided:
        decisions = json.loads(decided.read() or b"{}")
    # Only now: spaCy asks for its working folder when it is imported. It is our root from here on.
    os.rmdir(os.getcwd())
    held = confine.lock(task["parent"])
    if not any("network" in name or name == "seccomp" for name in task["held"] + held):
        os._exit(confine.EXIT_NO_SANDBOX)
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
    checker = RowChecker(rows_out, late, decisions, on_progress)
    return {"rows": checker.check(rows, judge_language=judge_language)}


def main() -> None:
    task = json.loads(sys.argv[1])
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
