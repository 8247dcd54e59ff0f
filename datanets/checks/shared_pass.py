"""Two processes share the first pass: every second batch of an upload goes to a helper.

The helper is forked from the checking child after its rehearsal and before its lock, locks itself
in by the same means under the same limits, and dies with it. It reads the upload's rows by a
descriptor of its own, so what passes between the two is only what comes out, batch by batch,
through a pipe that holds it back while the other is busy.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, NoReturn

import numpy as np

from datanets.checks.first_pass import MEMORY, Checked, batches

ROWS_MIN = 3_000
"""Fewer rows are checked in less time than a second process saves."""
_HEADER = struct.Struct("<QQ")
_PIPE_BYTES = 1 << 20

Check = Callable[[int, list[bytes]], Checked]
"""`check_batch` with decisions and language settled."""


@dataclass(frozen=True, slots=True)
class Helper:
    """The other process, seen from the one that collects."""

    process: int
    results: IO[bytes]

    def next(self) -> Checked:
        """Its next batch. Ends this process as the helper ended when it is gone."""
        header = self.results.read(_HEADER.size)
        if len(header) < _HEADER.size:
            self._end_alike()
        rows, size = _HEADER.unpack(header)
        memory = np.frombuffer(self.results.read(rows * MEMORY.itemsize), dtype=MEMORY)
        lines = self.results.read(size)
        if len(memory) < rows or len(lines) < size:
            self._end_alike()
        return Checked(memory, lines)

    def wait(self) -> None:
        os.waitpid(self.process, 0)

    def _end_alike(self) -> NoReturn:
        _, status = os.waitpid(self.process, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            signal.raise_signal(-code)
        os._exit(code or 1)


def worth_sharing(rows: int) -> bool:
    return rows >= ROWS_MIN and len(os.sched_getaffinity(0)) > 1


def start_helper(
    rows: IO[bytes], lock: Callable[[int], None], check: Check, closed: list[int]
) -> Helper:
    """Fork the process that checks every second batch of `rows`.

    `lock` is told the parent's number and locks it in; the descriptors in `closed` are not for it.
    """
    own = os.open(f"/proc/self/fd/{rows.fileno()}", os.O_RDONLY)
    here, there = os.pipe()
    fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    parent = os.getpid()
    process = os.fork()
    if process:
        os.close(own)
        os.close(there)
        return Helper(process, os.fdopen(here, "rb"))
    try:
        for descriptor in (here, *closed):
            os.close(descriptor)
        lock(parent)
        with os.fdopen(own, "rb") as lines, os.fdopen(there, "wb") as results:
            _help(lines, results, check)
    except BaseException:
        traceback.print_exc()  # the parent process logs where, never what
        os._exit(1)
    os._exit(0)


def _help(lines: IO[bytes], results: IO[bytes], check: Check) -> None:
    for number, (first, batch) in enumerate(batches(lines)):
        if number % 2:
            checked = check(first, batch)
            results.write(_HEADER.pack(len(checked.memory), len(checked.lines)))
            results.write(checked.memory.tobytes())
            results.write(checked.lines)
            results.flush()


def shared_pass(lines: IO[bytes], check: Check, helper: Helper | None) -> Iterator[Checked]:
    """The checked batches of an upload in order, every second one by the helper if there is one."""
    for number, (first, batch) in enumerate(batches(lines)):
        yield helper.next() if helper and number % 2 else check(first, batch)
    if helper:
        helper.wait()
