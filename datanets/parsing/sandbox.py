"""Runs the sandbox child for one upload and turns whatever happens into a plain answer."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from datanets.parsing import strict_json
from datanets.parsing.confine import (
    EXIT_DISK_FULL,
    EXIT_NO_SANDBOX,
    SandboxUnavailableError,
)
from datanets.parsing.result import (
    BadRow,
    BadValueError,
    Limits,
    Message,
    NeedsMapping,
    Rejection,
    Report,
    Row,
    Status,
    too_large,
    wrong_content,
)
from datanets.parsing.shapes import SYNONYMS

logger = logging.getLogger(__name__)

OnProgress = Callable[[float, int], None]
"""Called with the share of the file that was read (0 to 1) and the rows read so far."""

_REPORT_BYTES = 16 * 1024**2
_SOURCE_ROOT = Path(__file__).resolve().parents[2]


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
        with os.fdopen(os.open(f"/proc/self/fd/{self._rows.fileno()}", os.O_RDONLY), "rb") as lines:
            for line in lines:
                yield _decode_row(line)

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def __enter__(self) -> ParseResult:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decode_row(line: bytes) -> Row:
    fields = json.loads(line)
    fields["messages"] = tuple(Message(*pair) for pair in fields.get("messages", ()))
    fields["extra_wordings"] = tuple(fields.get("extra_wordings", ()))
    return Row(**fields)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How the child ended: its wait status, its use of the machine, and whether we stopped it."""

    wait_status: int
    cpu_seconds: float
    peak_memory_bytes: int
    wall_seconds: float
    timed_out: bool


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
            nothing = _Ended(0, 0.0, 0, time.monotonic() - started, False)
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
        stack.callback(_remove_folder, folder)
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
        ended = _wait_for_child(task, folder, upload, errors, limits, on_progress)
        report = _report_of(ended, report_file, errors, limits)
        on_fault.pop_all()
        return _result(report, ended, rows)


def _remove_folder(folder: str) -> None:
    """The child removes it as its first act; this is for a child that never came so far."""
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(folder)


def _wait_for_child(
    task: dict[str, Any],
    folder: str,
    upload: IO[bytes],
    errors: IO[bytes],
    limits: Limits,
    on_progress: OnProgress | None,
) -> _Ended:
    """Start the child and stay until it has ended, by itself or by our hand."""
    started = time.monotonic()
    progress_read, progress_write = os.pipe()
    try:
        task["progress"] = progress_write
        child = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", "datanets.parsing.child", json.dumps(task)],
            stdin=upload,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[task[name] for name in ("rows", "report", "scratch", "progress")],
            cwd=folder,
            env=_clean_environment(folder),
            start_new_session=True,
        )
        os.close(progress_write)
        progress_write = -1
        try:
            in_time = _follow(progress_read, started + limits.wall_seconds, on_progress)
        except BaseException:
            _stop(child)
            raise
        return _reap(child, started, timed_out=not in_time)
    finally:
        os.close(progress_read)
        if progress_write >= 0:
            os.close(progress_write)


def _clean_environment(folder: str) -> dict[str, str]:
    """Nothing of ours, so no secret can leak; one thread for every numeric library."""
    return {
        "PYTHONPATH": str(_SOURCE_ROOT),
        "LANG": "C.UTF-8",
        "HOME": folder,
        "TMPDIR": folder,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Arrow's own allocators reserve address space that RLIMIT_AS would count.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "1",
    }


def _follow(pipe: int, deadline: float, on_progress: OnProgress | None) -> bool:
    """Read progress until the child closes its end (True) or time is up (False)."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN | select.POLLHUP)
    pending = b""
    while (left := deadline - time.monotonic()) > 0:
        if not poller.poll(left * 1000):
            return False
        data = os.read(pipe, 4_096)
        if not data:
            return True
        *lines, pending = (pending + data)[-8_192:].split(b"\n")
        if on_progress and lines:
            with contextlib.suppress(ValueError, TypeError):
                share, rows_read = json.loads(lines[-1])
                on_progress(min(1.0, float(share)), int(rows_read))
    return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    child.wait()


def _reap(child: subprocess.Popen[bytes], started: float, *, timed_out: bool) -> _Ended:
    if timed_out:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    _, wait_status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(wait_status)  # so that Popen does not wait again
    return _Ended(
        wait_status,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        time.monotonic() - started,
        timed_out,
    )


def _report_of(ended: _Ended, report_file: IO[bytes], errors: IO[bytes], limits: Limits) -> Report:
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


def _out_of_time_or_memory(ended: _Ended, limits: Limits) -> Rejection:
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


def _result(report: Report, ended: _Ended, rows: IO[bytes] | None = None) -> ParseResult:
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
