"""The site's web process on a server of its own, to be killed and started again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from bench.money.cluster import REPOSITORY, Cluster, temporary_cluster
from rewards.chain.local import free_port

START_SECONDS = 180
SAMPLE_SECONDS = 0.05


@dataclass
class Site:
    """One uvicorn process over `cluster`; `secret` is an API key of somebody who may contribute."""

    cluster: Cluster
    slug: str
    secret: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    peaks_mb: dict[str, float] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError("The site is not running.")
        return self.process.pid

    def start(self) -> None:
        """Returns when it answers."""
        self.port = self.port or free_port()
        command = ["-m", "uvicorn", "openledger_site.asgi:application", "--log-level", "error"]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--host", "127.0.0.1", "--port", str(self.port)],
            cwd=REPOSITORY,
            env=self.cluster.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(URLError, OSError):
                if urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2).status == 200:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"The site did not start (exit code {self.process.poll()}).")

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note the largest resident memory of the web process and of any child of it."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(SAMPLE_SECONDS):
            for name, pids in (("web", [self.pid]), ("child", _children(self.pid))):
                for pid in pids:
                    self.peaks_mb[name] = max(self.peaks_mb.get(name, 0.0), _resident_mb(pid))


def _children(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += [int(one) for one in (task / "children").read_text().split()]
    return found


def _resident_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


@contextmanager
def temporary_site() -> Iterator[Site]:
    """A database, a person with a key, a Datanet and a running web process; all gone at the end."""
    with temporary_cluster() as cluster:
        cluster.migrate()
        made = subprocess.run(
            [sys.executable, "-m", "bench.intake.prepare"],
            check=True,
            cwd=REPOSITORY,
            env=cluster.environment(),
            capture_output=True,
            text=True,
        )
        site = Site(cluster, **json.loads(made.stdout.splitlines()[-1]))
        site.start()
        try:
            yield site
        finally:
            site.stop()
