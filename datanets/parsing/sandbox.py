"""Runs the sandbox child for one upload and turns whatever happens into a plain answer."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO

from datanets.parsing import strict_json
from datanets.parsing.confine import (
    EXIT_DISK_FULL,
    EXIT_NO_SANDBOX,
    SandboxUnavailableError,
)
from datanets.parsing.confined_process import Ended, OnProgress, remove_folder, run_confined
from datanets.parsing.result import (
    BadRow,
    BadValueError,
    Limits,
    NeedsMapping,
    Rejection,
    Report,
    Row,
    Status,
    too_large,
    wrong_content,
)
from datanets.parsing.row_lines import decode_row
from datanets.parsing.shapes import SYNONYMS

logger = logging.getLogger(__name__)

_REPORT_BYTES = 16 * 1024**2


@dataclass(slots=True)
class ParseResult:
    """What became of one upload. `rows_accepted + rows_rejected == rows_read`, always.

    The rows lie in a nameless file that goes away when the result is closed or dropped, so nothing
    stays on disk even if this process is killed. Use it as a context manager.
    """

    status: Status
    format: str
    format_found_by: str
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    kinds: Mapping[str, int]
    ignored_columns: tuple[str, ...]
    bad_rows: tuple[BadRow, ...]
    """The first `Limits.bad_rows_listed` of them; `rows_rejected` counts all."""
    rejection: Rejection | None
    needs_mapping: NeedsMapping | None
    confinement: tuple[str, ...]
    peak_memory_bytes: int
    cpu_seconds: float
    wall_seconds: float
    _rows: IO[bytes] | None = field(default=None, repr=False)

    def rows(self) -> Iterator[Row]:
        """The accepted rows in order, from the start at every call. Nothing unless accepted."""
        if self.status != "accepted" or self._rows is None:
            return
        with self.lines() as lines:
            for line in lines:
                yield decode_row(line)

    def lines(self) -> IO[bytes]:
        """The accepted rows as JSON lines, from the start at every call. Only when accepted."""
        if self._rows is None:
            raise ValueError("No rows were accepted.")
        return os.fdopen(os.open(f"/proc/self/fd/{self._rows.fileno()}", os.O_RDONLY), "rb")

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def __enter__(self) -> ParseResult:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_upload(
    path: str | os.PathLike[str],
    filename: str,
    limits: Limits | None = None,
    on_progress: OnProgress | None = None,
    mapping: Mapping[str, str] | None = None,
) -> ParseResult:
    """Read one uploaded file in a confined child process.

    `filename` is the sender's name for it: it gives the ending and is never used as a path.
    `mapping` says which column plays which role (keys of `shapes.SYNONYMS`) after `needs_mapping`.
    A bad file never raises: it gives a result with a `rejection`. Raises OSError when `path` cannot
    be opened or the disk is full, ValueError for a role that does not exist, and
    SandboxUnavailableError when this machine cannot confine the child: faults of the caller or
    the operator.
    """
    limits = limits or Limits()
    if unknown := set(mapping or ()) - set(SYNONYMS):
        raise ValueError(f"No such role: {', '.join(sorted(unknown))}")
    started = time.monotonic()
    with open(path, "rb") as upload:
        status = os.fstat(upload.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"Not a regular file: {path}")
        if status.st_size > limits.file_bytes:
            nothing = Ended(0, 0.0, 0, time.monotonic() - started, False)
            return _result(Report(rejection=_file_too_large(status.st_size, limits)), nothing)
        return _run(upload, filename, limits, on_progress, mapping)


def _file_too_large(size: int, limits: Limits) -> Rejection:
    return too_large(
        "file_too_large",
        f"The file has {size:,} bytes; at most {limits.file_bytes:,} are read.",
        where="the whole file",
        limit=f"{limits.file_bytes:,} bytes",
        remedy="Split it into several uploads.",
    ).rejection


def _run(
    upload: IO[bytes],
    filename: str,
    limits: Limits,
    on_progress: OnProgress | None,
    mapping: Mapping[str, str] | None,
) -> ParseResult:
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="openledger-parse-")
        stack.callback(remove_folder, folder)
        report_file, scratch, errors = (
            stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)
        )
        rows = tempfile.TemporaryFile()  # noqa: SIM115  (the result owns and closes it)
        on_fault = stack.enter_context(contextlib.ExitStack())
        on_fault.callback(rows.close)
        task = {
            "filename": filename[-255:],
            "limits": asdict(limits),
            "mapping": dict(mapping) if mapping else None,
            "parent": os.getpid(),
            "rows": rows.fileno(),
            "report": report_file.fileno(),
            "scratch": scratch.fileno(),
        }
        ended = run_confined(
            "datanets.parsing.child", task, folder, upload, errors, limits, on_progress
        )
        report = _report_of(ended, report_file, errors, limits)
        on_fault.pop_all()
        return _result(report, ended, rows)


def _report_of(ended: Ended, report_file: IO[bytes], errors: IO[bytes], limits: Limits) -> Report:
    code = os.waitstatus_to_exitcode(ended.wait_status)
    if code == EXIT_NO_SANDBOX:
        raise SandboxUnavailableError("Neither network namespaces nor seccomp are available here.")
    if code == EXIT_DISK_FULL:
        raise OSError(errno.ENOSPC, "No disk space left for the rows of an upload")
    if code == 0 and not ended.timed_out:
        try:
            report_file.seek(0)
            data = report_file.read(_REPORT_BYTES).decode()
            return Report.from_json(strict_json.loads(data, limits))
        except (BadValueError, ValueError, KeyError, TypeError, AttributeError):
            logger.exception("The parsing child ended well but its report cannot be read")
            return Report(rejection=_stopped("its report cannot be read"))
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4_096))
    tail = errors.read().decode("utf-8", errors="replace")
    if ended.timed_out or code in (-signal.SIGXCPU, -signal.SIGKILL):
        logger.warning("The parsing child was stopped (code %s): %s", code, tail)
        return Report(rejection=_out_of_time_or_memory(ended, limits))
    logger.error("The parsing child failed (code %s): %s", code, tail)
    name = signal.Signals(-code).name if code < 0 else f"exit {code}"
    return Report(rejection=_stopped(f"the reader stopped with {name}"))


def _out_of_time_or_memory(ended: Ended, limits: Limits) -> Rejection:
    if not ended.timed_out and ended.cpu_seconds < limits.cpu_seconds - 1:
        return too_large(
            "needs_too_much_memory",
            "Reading the file needed more memory than there is.",
            where="the content",
            limit=f"{limits.memory_bytes:,} bytes of memory",
            remedy="Split it into several uploads.",
        ).rejection
    limit = (
        f"{limits.wall_seconds:g} seconds"
        if ended.timed_out
        else f"{limits.cpu_seconds} CPU seconds"
    )
    return too_large(
        "takes_too_long",
        f"Reading the file takes longer than {limit}.",
        where="the content",
        limit=limit,
        remedy="Split it into several uploads.",
    ).rejection


def _stopped(what: str) -> Rejection:
    return wrong_content(
        "cannot_be_decoded",
        f"The file cannot be decoded: {what}. It was read in a safe place and nothing was kept.",
        where="the content",
        remedy="It may be damaged: export it again, or send it as csv or jsonl.",
    ).rejection


def _result(report: Report, ended: Ended, rows: IO[bytes] | None = None) -> ParseResult:
    status: Status = "accepted"
    if report.rejection or report.needs_mapping:
        status = "rejected" if report.rejection else "needs_mapping"
        # All or nothing: what was read before the fault is not kept.
        report.rows_accepted, report.rows_rejected = 0, report.rows_read
        report.kinds = {}
        if rows is not None:
            rows.close()
            rows = None
    return ParseResult(
        status=status,
        format=report.format,
        format_found_by=report.format_found_by,
        rows_read=report.rows_read,
        rows_accepted=report.rows_accepted,
        rows_rejected=report.rows_rejected,
        kinds=report.kinds,
        ignored_columns=tuple(report.ignored_columns),
        bad_rows=tuple(report.bad_rows),
        rejection=report.rejection,
        needs_mapping=report.needs_mapping,
        confinement=tuple(report.confinement),
        peak_memory_bytes=report.peak_memory_bytes or ended.peak_memory_bytes,
        cpu_seconds=ended.cpu_seconds,
        wall_seconds=ended.wall_seconds,
        _rows=rows,
    )
