"""A PostgreSQL server for one benchmark, fsync on, that may be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 30


class Cluster:
    """The site's embedded PostgreSQL on a folder of its own; `url` names its first database."""

    def __init__(self, folder: Path) -> None:
        from openledger_site.core.local.postgres import _server, local_database_url

        self.folder = folder
        self.url = local_database_url(folder / "postgres")
        self._server: Any = _server(folder / "postgres")

    @property
    def postmaster(self) -> int:
        """Process id of the server's first process."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])

    def environment(self) -> dict[str, str]:
        """What a process of the site needs to use this server and leave the real site alone."""
        return {
            **os.environ,
            "DATABASE_URL": self.url,
            "OPENLEDGER_LOCAL_DIR": str(self.folder / "local"),
            "DJANGO_SETTINGS_MODULE": "openledger_site.settings",
            "LOG_LEVEL": "ERROR",
            "OMP_NUM_THREADS": "1",
        }

    def new_database(self, name: str) -> str:
        """An empty database beside the first; its URL."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url.replace("/postgres?", f"/{name}?")

    def migrate(self) -> None:
        """The site's tables in the first database."""
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, check=True, cwd=REPOSITORY, env=self.environment())

    def kill(self) -> None:
        """SIGKILL the first process; the others end by themselves when they notice."""
        postmaster = self.postmaster
        os.kill(postmaster, signal.SIGKILL)
        self._wait_until_gone(postmaster)

    def stop_immediately(self) -> None:
        """As `pg_ctl stop -m immediate`: no checkpoint, the next start recovers from the log."""
        postmaster = self.postmaster
        os.kill(postmaster, signal.SIGQUIT)
        self._wait_until_gone(postmaster)

    def restart(self) -> None:
        """Start again after `kill` or `stop_immediately`; a dying child may still hold on."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self._server.ensure_postgres_running()
            except (subprocess.SubprocessError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def settings(self) -> dict[str, str]:
        """The settings that decide whether a commit is on disk."""
        import psycopg

        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
        with psycopg.connect(self.url) as connection:
            return {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in names}  # type: ignore[index] # SHOW answers one row

    def _wait_until_gone(self, process: int) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


@contextmanager
def temporary_cluster() -> Iterator[Cluster]:
    """A server on a new folder; stopped and forgotten at the end.

    `BENCH_SPACE` names the folder's parent, for a machine whose /tmp is not a disk.
    """
    place = os.environ.get("BENCH_SPACE")
    folder = Path(tempfile.mkdtemp(prefix="bench-money-", dir=place))
    folder.chmod(0o755)  # the server drops to a user of its own, who must be able to walk in
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster._server.stop()
        shutil.rmtree(folder, ignore_errors=True)
