"""Start, watch and stop the site's processes on one machine.

Each process leads its own group and dies with its parent, so that neither Ctrl-C nor `kill -9`
leaves anything behind. One that ends is started again; jobs resume by their leases.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS = 10.0
RESTART_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Process:
    """One program of the site: how to start it, where it logs, when it counts as ready."""

    name: str
    command: Sequence[str]
    ready_url: str = ""
    ready_headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    popen: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    ended_at: float = 0.0

    def start(self, logs: Path, environment: Mapping[str, str]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"{self.name}.log").open("ab") as log:
            self.popen = subprocess.Popen(
                list(self.command),
                env={**environment, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # one prctl call, before exec
            )

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the process to end, then end its whole group."""
        if self.popen is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


class Supervisor:
    """Keeps a set of processes running until told to stop."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.logs = logs
        self.environment = dict(environment)
        self.processes: list[Process] = []

    def start(self, process: Process) -> None:
        process.start(self.logs, self.environment)
        self.processes.append(process)

    def wait_until_ready(self, process: Process, seconds: float = 180.0) -> None:
        """Block until `ready_url` answers 200; raises with the log's end if it never does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if _answers(process.ready_url, process.ready_headers):
                return
            self.revive()
            time.sleep(0.1)
        raise RuntimeError(f"{process.name} did not start.\n{self.log_tail(process)}")

    def revive(self) -> list[str]:
        """Start again what has ended; returns the names."""
        revived = []
        for process in self.processes:
            if process.popen is None or process.popen.poll() is None:
                continue
            if not process.ended_at:
                process.ended_at = time.monotonic()
            # A program that fails at once is not started in a tight loop.
            if time.monotonic() - process.ended_at >= RESTART_SECONDS * min(process.restarts, 10):
                process.restarts += 1
                process.ended_at = 0.0
                process.start(self.logs, self.environment)
                revived.append(process.name)
        return revived

    def stop(self) -> None:
        """End everything, last started first; those that may take a moment are asked together."""
        for process in self.processes[1:]:
            if process.popen is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.popen.terminate()
        for process in reversed(self.processes):
            process.stop()

    def log_tail(self, process: Process, lines: int = 15) -> str:
        path = self.logs / f"{process.name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def free_port(preferred: int) -> int:
    """`preferred` if nothing listens there, otherwise any free port."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                return int(listener.getsockname()[1])
    raise RuntimeError("No free port on this machine.")


def _answers(url: str, headers: Mapping[str, str]) -> bool:
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 # our own loopback
    try:
        with urllib.request.urlopen(request, timeout=2) as response:  # noqa: S310 # as above
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
