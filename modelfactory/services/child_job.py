"""What jobs share that run one attribution command: a private folder, a child, its last word.

The folder holds rows' text. It is gone when the job ends, however it ends, except when the lease
was lost: then it belongs to the worker that took over.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelfactory.services.child import Event, run_child
from modelfactory.services.training_files import private_folder, remove_folder
from openledger_site.core.jobs import JobFailed, Lease, LeaseLost

REPORT_SECONDS = 0.5
ANY = "*"


@contextmanager
def job_folder(name: str) -> Iterator[Path]:
    """A private folder for one attempt of a job."""
    folder = private_folder(name)
    try:
        yield folder
    except LeaseLost:
        raise
    except BaseException:
        remove_folder(folder)
        raise
    remove_folder(folder)


class Reporter:
    """Turns the child's events into job events, and keeps what its last one tells."""

    def __init__(self, lease: Lease, loading: str, refusals: Mapping[str, Exception]) -> None:
        self.lease, self.loading, self.refusals = lease, loading, refusals
        self.reported_at = 0.0
        self.done: Event = {}

    def on_event(self, event: Event) -> None:
        kind = event["event"]
        if kind == "loading":
            self.lease.report("loading", progress=50, message=self.loading)
        elif kind == "progress" and time.monotonic() - self.reported_at > REPORT_SECONDS:
            self.reported_at = time.monotonic()
            done, total = int(event["done"]), max(1, int(event["of"]))
            self.lease.report("progress", progress=100 + 850 * done // total, done=done, of=total)
        elif kind == "done":
            self.done = event
        elif kind == "failed":
            raise self.refusals.get(str(event["code"]), self.refusals[ANY])


def run_attribution(
    lease: Lease,
    arguments: Sequence[str],
    folder: Path,
    *,
    loading: str,
    refusals: Mapping[str, Exception],
) -> Event:
    """Run `python -m modelfactory.attribution ARGUMENTS`; what its "done" event tells.

    `refusals` says what to raise for a "failed" event's code; `ANY` is for all others.
    """
    reporter = Reporter(lease, loading, refusals)
    command = ["-m", "modelfactory.attribution", *arguments]
    run_child(lease, command, folder, reporter.on_event)
    if not reporter.done:
        raise JobFailed("The child ended without a result.", code="no_result")
    return reporter.done


def put_in_place(made: Path, place: Path) -> None:
    """Move a finished folder to where it is read. Call it inside `lease.fenced()`: then no worker
    that took over can have put its own there meanwhile."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}.left")
    shutil.rmtree(aside, ignore_errors=True)
    if place.exists():
        place.rename(aside)
    made.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of an index or calibration; empty where it cannot be read."""
    try:
        found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found
