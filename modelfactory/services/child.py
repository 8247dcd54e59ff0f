"""Run one ML command line in a child process, read its JSON events, and never leave it behind.

The child prints one JSON object a line. It is stopped with SIGTERM when the owner cancels (it saves
first), and killed when the lease is lost. A lock on its folder passes to the child, so a second
worker waits until the first one's child is really gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from openledger_site.core.jobs import JobCancelled, JobFailed, Lease

Event = dict[str, Any]

CHECK_SECONDS = 0.5
STOP_GRACE_SECONDS = 15.0
LOCK_WAIT_SECONDS = 60.0
LINE_BYTES_MAX = 1 << 20
OUT_OF_MEMORY_WORDS = ("MemoryError", "out of memory", "can't allocate memory", "std::bad_alloc")


class ChildDied(RuntimeError):
    """The child ended without finishing: killed, or crashed. Trying again resumes its work."""


def child_environment() -> dict[str, str]:
    """The worker's environment with the thread counts that make results repeatable."""
    threads = str(settings.TORCH_THREADS)
    return os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }


def run_child(
    lease: Lease,
    arguments: Sequence[str],
    folder: Path,
    on_event: Callable[[Event], None],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run `python ARGUMENTS` under `lease`, calling `on_event` for each JSON line it prints.

    `check` is asked every `CHECK_SECONDS`, with the lease; the child is killed when it raises.
    Raises `JobCancelled` after "save and stop", `LeaseLost` when another worker took over,
    `JobFailed` for a lack of memory, `ChildDied` for any other end but a clean one.
    """
    with _folder_lock(lease, folder) as lock, (folder / "child.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            cwd=settings.BASE_DIR,
            pass_fds=(lock,),
        )
        try:
            for event in _events(lease, process, check):
                on_event(event)
        except JobCancelled:
            _save_and_stop(process, on_event)
            raise
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdout is not None  # noqa: S101 # Popen was given a pipe
            process.stdout.close()
    if process.returncode != 0:
        _explain(process.returncode, folder / "child.log")


def _events(
    lease: Lease, process: subprocess.Popen[bytes], check: Callable[[], None]
) -> Iterator[Event]:
    """The child's events until it closes its output; lease and `check` are asked all along."""
    assert process.stdout is not None  # noqa: S101 # Popen was given a pipe
    checked_at = 0.0
    for line in _lines(process.stdout):
        if time.monotonic() - checked_at > CHECK_SECONDS:
            lease.check()
            check()
            checked_at = time.monotonic()
        if line is not None:
            yield from _parse(line)
    process.wait(timeout=STOP_GRACE_SECONDS)


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Whole lines as they come; None whenever `CHECK_SECONDS` pass without one."""
    pending = b""
    while True:
        ready, _, _ = select.select([stream], [], [], CHECK_SECONDS)
        if not ready:
            yield None
            continue
        chunk = os.read(stream.fileno(), 65536)
        if not chunk:
            return
        *whole, pending = (pending + chunk).split(b"\n")
        if len(pending) > LINE_BYTES_MAX:
            raise ChildDied("The child printed a line without an end.")
        yield from whole


def _parse(line: bytes) -> Iterator[Event]:
    """One event, or nothing: libraries print too, and their words are not ours to show."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    if isinstance(event, dict) and isinstance(event.get("event"), str):
        yield event


def _save_and_stop(process: subprocess.Popen[bytes], on_event: Callable[[Event], None]) -> None:
    """Ask the child to save a checkpoint and end; it has `STOP_GRACE_SECONDS`."""
    assert process.stdout is not None  # noqa: S101 # Popen was given a pipe
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_GRACE_SECONDS
    for line in _lines(process.stdout):
        if line is not None:
            for event in _parse(line):
                on_event(event)
        if time.monotonic() > deadline:
            return


@contextmanager
def _folder_lock(lease: Lease, folder: Path) -> Iterator[int]:
    """Hold the folder's lock; wait for a child that another worker left to end."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ChildDied("Another process still works in this folder.") from None
                lease.check()
                time.sleep(CHECK_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _explain(returncode: int, log: Path) -> None:
    """Turn an exit status into a refusal that helps, or into another try."""
    tail = log.read_bytes()[-4000:].decode(errors="replace")
    if any(words in tail for words in OUT_OF_MEMORY_WORDS):
        raise JobFailed(
            "The machine ran out of memory. Try again with the safer settings: they read fewer "
            "rows at a time.",
            code="out_of_memory",
        )
    last_line = tail.strip().rpartition("\n")[2].partition(":")[0][:80]
    raise ChildDied(f"exit status {returncode} {last_line}")
