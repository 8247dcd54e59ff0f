"""Build the attribution index of an adapter under a lease, in a child process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db.models.functions import Now

from datanets.models import Record, Version
from datanets.selectors import training_rows, withdrawn_training_records
from modelfactory.attribution.calibration import Calibration as CalibrationFiles
from modelfactory.attribution.calibration import calibration_folder as calibration_folder_in
from modelfactory.attribution.index import SCHEMA, IndexDamagedError
from modelfactory.attribution.index import AttributionIndex as IndexFiles
from modelfactory.attribution.index_withdrawal import calibration_for
from modelfactory.attribution.job import BuildSpec
from modelfactory.attribution.method import UNCALIBRATED
from modelfactory.models import AttributionIndex, Calibration
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.base_models import base_source
from modelfactory.services.calibrate_model import locked, queue_fit
from modelfactory.services.child import Event
from modelfactory.services.child_job import (
    ANY,
    job_folder,
    manifest_of,
    put_in_place,
    run_attribution,
    size_of,
)
from modelfactory.services.queue_following import queue_following
from modelfactory.services.training_files import row_examples, write_lines, write_text
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, Lease

UNUSABLE = JobFailed(
    "No index could be built from these rows: it takes at least a few rows with different answers. "
    "The contributors' part of this model's answers goes to their reserve.",
    code="index_unusable",
)


def index_folder(adapter_digest: str) -> Path:
    """Where the index of an adapter lies once it is ready."""
    return Path(settings.ATTRIBUTION_DIR) / adapter_digest


def calibration_folder(adapter_digest: str) -> Path:
    """Where the calibration of an adapter lies once it is ready; the worker looks there."""
    return calibration_folder_in(Path(settings.ATTRIBUTION_DIR), adapter_digest)


def build_attribution_index(lease: Lease, index: AttributionIndex) -> None:
    """Build, move into place, then mark ready; the rows' text leaves the disk either way.

    Building the same rows again gives the same bytes, so an interrupted build simply starts over
    and a damaged index comes back as it was.
    """
    if index.ready_at is not None:
        return
    started = time.monotonic()
    with job_folder(f"index-{index.adapter_digest}") as folder:
        # Counted before the rows are read: one withdrawn in between is followed once more.
        withdrawn = withdrawn_training_records(index.run.version).count()
        _write_job(index, folder, withdrawn)
        done = run_attribution(
            lease,
            ["build", str(folder)],
            folder,
            loading="Loading the model",
            refusals={ANY: UNUSABLE},
        )
        _mark_ready(lease, index, folder, done, withdrawn, time.monotonic() - started)


def _write_job(index: AttributionIndex, folder: Path, withdrawn: int) -> None:
    run = index.run
    spec = BuildSpec(
        base=base_source(run.base),
        adapter=str(adapter_folder(index.adapter_digest)),
        base_digest=run.base.digest or f"hub:{run.base.source}",
        max_length=run.recipe["max_length"],
        threads=run.recipe["threads"],
        trail=[str(adapter_folder(digest)) for digest in index.trail_digests],
        follows=_follows(index, withdrawn),
    )
    write_text(folder / "spec.json", spec.to_json())
    write_lines(folder / "records.jsonl", _oldest_first(run.version))


def _follows(index: AttributionIndex, withdrawn: int) -> dict[str, str]:
    """What a new index cannot replay; nothing where it will be the very one that was there."""
    if not index.digest:
        return {}
    schema = manifest_of(index_folder(index.adapter_digest)).get("schema", SCHEMA)
    only_rebuilt = all(reason == "rebuild" for reason in index.earlier_digests.values())
    same_rows = only_rebuilt and withdrawn == index.withdrawn_count
    if same_rows and schema == SCHEMA:
        return {}
    return {**index.earlier_digests, index.digest: "rebuild"}


def _replaced(row: AttributionIndex, now: str, follows: dict[str, str]) -> dict[str, str]:
    """Every index before this one, and why it was left."""
    before = {row.digest: "rebuild"} if row.digest else {}
    earlier = {**before, **row.earlier_digests, **follows}
    return {digest: reason for digest, reason in earlier.items() if digest != now}


def _oldest_first(version: Version) -> Iterator[dict[str, str]]:
    """The trained examples; of near-duplicates the oldest record counts as the original."""
    rows = list(training_rows(version))
    ages = Record.objects.filter(public_id__in=[row.record_id for row in rows])
    age = {str(public_id): pk for public_id, pk in ages.values_list("public_id", "pk")}
    for row in sorted(rows, key=lambda row: age[row.record_id]):
        yield from row_examples(row)


def _mark_ready(
    lease: Lease,
    index: AttributionIndex,
    folder: Path,
    done: Event,
    withdrawn: int,
    seconds: float,
) -> None:
    made = folder / "index"
    follows, size = manifest_of(made).get("follows", {}), size_of(made)
    with lease.fenced():
        row = AttributionIndex.objects.select_for_update().get(pk=index.pk)
        put_in_place(made, index_folder(index.adapter_digest))
        AttributionIndex.objects.filter(pk=row.pk).update(
            digest=done["index_digest"],
            method=UNCALIBRATED,
            record_count=done["records"],
            phantom_count=done["phantoms"],
            size_bytes=size,
            build_seconds=seconds,
            withdrawn_count=withdrawn,
            # Another processor or library may build other bits of the same rows.
            earlier_digests=_replaced(row, str(done["index_digest"]), follows),
            damaged_at=None,
            ready_at=Now(),
        )
        row.refresh_from_db()
        calibration = Calibration.objects.filter(index=row).first()
        if calibration is not None:
            _take_along(locked(calibration), folder)
        queue_following(row)  # in case a row was withdrawn while it was built
        record_audit(
            "index.built",
            actor="trainer",
            subject=f"adapter:{index.adapter_digest}",
            digest=done["index_digest"],
        )


def _take_along(calibration: Calibration, folder: Path) -> None:
    """Keep the calibration of the index that was just put in place, or have it fitted."""
    place = calibration_folder(calibration.index.adapter_digest)
    if calibration.ready_at is not None:
        try:
            index = IndexFiles(index_folder(calibration.index.adapter_digest), verify=False)
            kept = CalibrationFiles(place)
            digest: str | None = kept.digest
            if kept.identity.index_digest != index.digest:
                digest = calibration_for(index, kept, folder / "calibration")
                if digest is not None:
                    put_in_place(folder / "calibration", place)
        except IndexDamagedError:
            digest = None
        ready = {"digest": digest} if digest else {"ready_at": None, "damaged_at": Now()}
        Calibration.objects.filter(pk=calibration.pk).update(**ready)
        calibration.refresh_from_db()
    queue_fit(calibration)
