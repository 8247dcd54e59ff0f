"""Runs the checking child over the rows of one upload and hands back rows with their findings."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from datanets.checks.findings import Finding
from datanets.checks.language import ROWS_MIN
from datanets.parsing.confine import EXIT_DISK_FULL, EXIT_NO_SANDBOX, SandboxUnavailableError
from datanets.parsing.confined_process import Ended, OnProgress, remove_folder, run_confined
from datanets.parsing.result import Limits, Row
from datanets.parsing.row_lines import row_of
from datanets.parsing.sandbox import ParseResult

logger = logging.getLogger(__name__)

# A row comes out with its findings and keys: more bytes than went in.
LIMITS = Limits(cpu_seconds=3_600, wall_seconds=3_600.0, output_bytes=8 * 1024**3)


class ChecksStopped(Exception):
    """The checks did not come to an end; `too_slow` when it was for want of time."""

    def __init__(self, message: str, *, too_slow: bool) -> None:
        super().__init__(message)
        self.too_slow = too_slow


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """One row after the checks; `row` is None when its owner dropped it.

    `position` counts the accepted rows of the upload from 1. `personal_data` is what is found and
    not yet decided: mappings with kind, column, start, end, score and masked. `language` is an ISO
    639-1 code, or "" where it was not judged or not sure.
    """

    position: int
    row: Row | None
    findings: tuple[Finding, ...] = ()
    keys: tuple[int, ...] = ()
    personal_data: tuple[Mapping[str, Any], ...] = ()
    language: str = ""


@dataclass(slots=True)
class CheckResult:
    """The rows of one upload with their findings. Nameless files: use it as a context manager."""

    count: int
    wall_seconds: float
    _rows: IO[bytes] = field(repr=False)
    _late: IO[bytes] = field(repr=False)

    def rows(self) -> Iterator[CheckedRow]:
        """In order, from the start at every call."""
        with _reopened(self._rows) as lines, _reopened(self._late) as late:
            later = (json.loads(line) for line in late)
            following = next(later, None)
            for position, line in enumerate(lines, start=1):
                more = []
                while following is not None and following[0] == position:
                    more.append(Finding(**following[1]))
                    following = next(later, None)
                yield _checked_row(position, json.loads(line), more)

    def close(self) -> None:
        self._rows.close()
        self._late.close()

    def __enter__(self) -> CheckResult:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked_row(position: int, line: Mapping[str, Any], late: list[Finding]) -> CheckedRow:
    if "dropped" in line:
        return CheckedRow(position, None)
    return CheckedRow(
        position,
        row_of(line["row"]),
        (*(Finding(**finding) for finding in line["findings"]), *late),
        tuple(line["keys"]),
        tuple(line["personal_data"]),
        line["language"],
    )


def check_upload(
    result: ParseResult,
    decisions: Mapping[str, str] | None = None,
    *,
    limits: Limits = LIMITS,
    on_progress: OnProgress | None = None,
) -> CheckResult:
    """Check the accepted rows of a parsed upload in a confined child process.

    `decisions` say what becomes of personal data (`first_pass.Decisions`). Raises `ChecksStopped`
    when the child died or ran out of time, OSError for a full disk, and SandboxUnavailableError.
    """
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="openledger-check-")
        stack.callback(remove_folder, folder)
        report, scratch, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        scratch.write(json.dumps(dict(decisions or {})).encode())
        scratch.seek(0)
        rows, late = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (the result owns and closes them)
        on_fault = stack.enter_context(contextlib.ExitStack())
        on_fault.callback(rows.close)
        on_fault.callback(late.close)
        task = {
            "limits": asdict(limits),
            "parent": os.getpid(),
            "total": result.rows_accepted,
            "judge_language": result.rows_accepted >= ROWS_MIN,
            "rows": rows.fileno(),
            "late": late.fileno(),
            "report": report.fileno(),
            "scratch": scratch.fileno(),
        }
        with result.lines() as lines:
            ended = run_confined(
                "datanets.checks.child", task, folder, lines, errors, limits, on_progress
            )
        _refuse_fault(ended, errors)
        report.seek(0)
        count = json.loads(report.read())["rows"]
        on_fault.pop_all()
        return CheckResult(count, ended.wall_seconds, rows, late)


def _reopened(file: IO[bytes]) -> IO[bytes]:
    return os.fdopen(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY), "rb")


def _refuse_fault(ended: Ended, errors: IO[bytes]) -> None:
    code = os.waitstatus_to_exitcode(ended.wait_status)
    if code == 0 and not ended.timed_out:
        return
    if code == EXIT_NO_SANDBOX:
        raise SandboxUnavailableError("Neither network namespaces nor seccomp are available here.")
    if code == EXIT_DISK_FULL:
        raise OSError("No disk space left for the rows of an upload")
    # A trace of ours may quote a row in its last line, so only the place in the code is logged.
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 8_192))
    lines = errors.read().decode("utf-8", errors="replace").splitlines()
    places = [line.strip() for line in lines if line.startswith("  File ")]
    too_slow = ended.timed_out or code in (-signal.SIGXCPU, -signal.SIGKILL)
    logger.error("The checking child stopped (code %s) at %s", code, places[-3:])
    raise ChecksStopped(
        "The checks took longer than they may." if too_slow else "The checks broke off.",
        too_slow=too_slow,
    )
