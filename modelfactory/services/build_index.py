"""Build the attribution index of an adapter under a lease, in a child process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from datanets.models import Record, Version
from datanets.selectors import training_rows
from modelfactory.attribution.job import BuildSpec
from modelfactory.attribution.method import UNCALIBRATED
from modelfactory.models import AttributionIndex, Calibration
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.base_models import base_source
from modelfactory.services.calibrate_model import locked, queue_fit
from modelfactory.services.child import Event, run_child
from modelfactory.services.training_files import (
    private_folder,
    remove_folder,
    row_examples,
    write_lines,
    write_text,
)
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, Lease

REPORT_SECONDS = 0.5


def index_folder(adapter_digest: str) -> Path:
    """Where the index of an adapter lies once it is ready."""
    return Path(settings.ATTRIBUTION_DIR) / adapter_digest


def build_attribution_index(lease: Lease, index: AttributionIndex) -> None:
    """Build, move into place, then mark ready; the rows' text leaves the disk either way.

    Building again gives the same bytes, so an interrupted build simply starts over.
    """
    if index.ready_at is not None:
        return
    started = time.monotonic()
    folder = private_folder(f"index-{index.adapter_digest}")
    try:
        _write_job(index, folder)
        reporter = Reporter(lease)
        arguments = ["-m", "modelfactory.attribution", "build", str(folder)]
        run_child(lease, arguments, folder, reporter.on_event)
        _mark_ready(lease, index, folder, reporter.digest, time.monotonic() - started)
    finally:
        remove_folder(folder)


def _write_job(index: AttributionIndex, folder: Path) -> None:
    run = index.run
    spec = BuildSpec(
        base=base_source(run.base),
        adapter=str(adapter_folder(index.adapter_digest)),
        base_digest=run.base.digest or f"hub:{run.base.source}",
        max_length=run.recipe["max_length"],
        threads=run.recipe["threads"],
        trail=[str(adapter_folder(digest)) for digest in index.trail_digests],
    )
    write_text(folder / "spec.json", spec.to_json())
    write_lines(folder / "records.jsonl", _oldest_first(run.version))


def _oldest_first(version: Version) -> Iterator[dict[str, str]]:
    """The trained examples; of near-duplicates the oldest record counts as the original."""
    rows = list(training_rows(version))
    ages = Record.objects.filter(public_id__in=[row.record_id for row in rows])
    age = {str(public_id): pk for public_id, pk in ages.values_list("public_id", "pk")}
    for row in sorted(rows, key=lambda row: age[row.record_id]):
        yield from row_examples(row)


class Reporter:
    """Turns the child's events into job events and keeps the index digest it names."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.reported_at = 0.0
        self.digest = ""

    def on_event(self, event: Event) -> None:
        kind = event["event"]
        if kind == "loading":
            self.lease.report("loading", progress=50, message="Loading the model")
        elif kind == "progress" and time.monotonic() - self.reported_at > REPORT_SECONDS:
            self.reported_at = time.monotonic()
            done, total = int(event["examples"]), max(1, int(event["of"]))
            progress = 100 + 850 * done // total
            self.lease.report("progress", progress=progress, examples=done, of=total)
        elif kind == "done":
            self.digest = str(event["index_digest"])
        elif kind == "failed":
            raise JobFailed(
                "No index could be built from these rows: it takes at least a few rows with "
                "different answers. Answers of this model are paid by the base rule.",
                code="index_unusable",
            )


def _mark_ready(
    lease: Lease, index: AttributionIndex, folder: Path, digest: str, seconds: float
) -> None:
    lease.check()
    manifest: dict[str, Any] = json.loads((folder / "index" / "manifest.json").read_text())
    place = index_folder(index.adapter_digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)  # of an attempt that died before its row was written
    (folder / "index").rename(place)
    size = sum(path.stat().st_size for path in place.iterdir())
    with lease.fenced():
        AttributionIndex.objects.filter(pk=index.pk).update(
            digest=digest,
            method=UNCALIBRATED,
            record_count=manifest["records"],
            phantom_count=manifest["phantoms"],
            size_bytes=size,
            build_seconds=seconds,
            ready_at=Now(),
        )
        waiting = Calibration.objects.filter(index=index).first()
        if waiting is not None:
            queue_fit(locked(waiting))
        record_audit(
            "index.built", actor="trainer", subject=f"adapter:{index.adapter_digest}", digest=digest
        )
