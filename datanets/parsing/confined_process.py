"""Starts a confined child, follows its progress and says how it ended; knows no format."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from datanets.parsing.result import Limits

OnProgress = Callable[[float, int], None]
"""Called with the share of the file that was read (0 to 1) and the rows read so far."""

_DESCRIPTORS = ("rows", "report", "scratch", "late", "progress")
_SOURCE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """How the child ended: its wait status, its use of the machine, and whether we stopped it."""

    wait_status: int
    cpu_seconds: float
    peak_memory_bytes: int
    wall_seconds: float
    timed_out: bool


def remove_folder(folder: str) -> None:
    """The child removes it as its first act; this is for a child that never came so far."""
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(folder)


def run_confined(
    module: str,
    task: dict[str, Any],
    folder: str,
    stdin: IO[bytes],
    errors: IO[bytes],
    limits: Limits,
    on_progress: OnProgress | None,
) -> Ended:
    """Start `python -m module TASK` and stay until it has ended, by itself or by our hand.

    Descriptors in the task (`_DESCRIPTORS`) go with it; `progress` is added to them.
    """
    started = time.monotonic()
    progress_read, progress_write = os.pipe()
    try:
        task["progress"] = progress_write
        child = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", module, json.dumps(task)],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[task[name] for name in _DESCRIPTORS if name in task],
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
        # So do rensa's: a gigabyte at import.
        "MIMALLOC_ARENA_RESERVE": "0",
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


def _reap(child: subprocess.Popen[bytes], started: float, *, timed_out: bool) -> Ended:
    if timed_out:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    _, wait_status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(wait_status)  # so that Popen does not wait again
    return Ended(
        wait_status,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        time.monotonic() - started,
        timed_out,
    )
