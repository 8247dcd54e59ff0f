"""What the workers and the sweep do, for tests that train: run jobs, in a thread or a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import connection

from openledger_site.core.jobs import run_job, sweep
from openledger_site.core.models import Job
from openledger_site.core.waiting import rounds

DEADLINE_SECONDS = 300


def wait_until(happened: Callable[[], bool], what: str) -> None:
    assert any(happened() for _ in rounds(DEADLINE_SECONDS)), f"never happened: {what}"


def trainers_of(pid: int) -> list[int]:
    """Living children of a process that train; a test session has others too, its chain first."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            trains = b"modelfactory.training" in (status.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        if trains and int(fields["PPid"]) == pid:
            found.append(int(fields["Pid"]))
    return found


def in_thread(job_id: UUID | None) -> threading.Thread:
    """A worker that can be waited for."""

    def work() -> None:
        try:
            run_job(str(job_id))
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def finish_job(job_id: UUID | None) -> None:
    """Do what the workers and the sweep do, until the job has ended."""

    def ended() -> bool:
        sweep()
        run_job(str(job_id))
        return Job.objects.filter(pk=job_id, ended_at__isnull=False).exists()

    wait_until(ended, "the job ends")


def start_worker(job_id: UUID | None, local: Path) -> subprocess.Popen[bytes]:
    """A worker process of its own on this test's database, with a lease of two seconds."""
    name = connection.settings_dict["NAME"]
    url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
    environment = os.environ | {
        "DATABASE_URL": url,
        "OPENLEDGER_LOCAL_DIR": str(local),
        "DJANGO_SETTINGS_MODULE": "openledger_site.settings",
        "JOB_LEASE_SECONDS": "2",
        "JOB_HEARTBEAT_SECONDS": "1",
    }
    script = (
        "import sys, django; django.setup();"
        "from openledger_site.core.jobs import run_job; run_job(sys.argv[1])"
    )
    command = [sys.executable, "-c", script, str(job_id)]
    return subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR)
