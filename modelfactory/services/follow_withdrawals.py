"""Take withdrawn rows out of an index and its calibration, in a child process under a lease."""

from __future__ import annotations

import json
from pathlib import Path

from django.db.models.functions import Now

from datanets.selectors import withdrawn_training_records
from modelfactory.attribution.index import IndexDamagedError
from modelfactory.models import AttributionIndex, Calibration
from modelfactory.services.build_index import calibration_folder, index_folder
from modelfactory.services.child import Event
from modelfactory.services.child_job import (
    ANY,
    job_folder,
    manifest_of,
    put_in_place,
    run_attribution,
    size_of,
)
from modelfactory.services.repair_attribution import calibration_damaged, index_damaged
from modelfactory.services.training_files import remove_folder, write_text
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobFailed, JobPostponed, Lease

AGAIN_SECONDS = 1.0


class _NothingLeft(Exception):
    """Every row of the index is withdrawn."""


class _CalibrationDamaged(Exception):
    pass


def follow_withdrawals(lease: Lease, index: AttributionIndex) -> None:
    """Bring an index up to date with the withdrawals of now. Safe to run twice.

    Where the index is damaged it is built again instead, which leaves the rows out as well.
    """
    gone = withdrawn_training_records(index.run.version).values_list("public_id", flat=True)
    withdrawn = sorted(str(public_id) for public_id in gone)
    if index.ready_at is None or len(withdrawn) <= index.withdrawn_count:
        return
    calibration = Calibration.objects.filter(index=index, ready_at__isnull=False).first()
    # A folder for each state: two jobs about one index never write into each other's.
    with job_folder(f"follow-{index.adapter_digest}-{len(withdrawn)}") as folder:
        write_text(folder / "withdrawn.json", json.dumps(withdrawn))
        try:
            done = _delete(lease, index, calibration, folder)
        except IndexDamagedError:
            index_damaged(index)
        except _CalibrationDamaged:
            calibration_damaged(index)
            raise JobPostponed("Once more, without a calibration.", seconds=0) from None
        except _NothingLeft:
            _give_up(lease, index, len(withdrawn))
        else:
            _mark_followed(lease, index, calibration, folder, done, len(withdrawn))


def _delete(
    lease: Lease, index: AttributionIndex, calibration: Calibration | None, folder: Path
) -> Event:
    place = index_folder(index.adapter_digest)
    arguments = ["delete", str(folder), "--index", str(place)]
    if calibration is not None:
        arguments += ["--calibration", str(calibration_folder(index.adapter_digest))]
    return run_attribution(
        lease,
        arguments,
        folder,
        loading="Taking out withdrawn rows",
        refusals={
            "index_damaged": IndexDamagedError(),
            "calibration_damaged": _CalibrationDamaged(),
            "nothing_left": _NothingLeft(),
            ANY: JobFailed("The withdrawn rows could not be taken out.", code="not_followed"),
        },
    )


def _mark_followed(
    lease: Lease,
    index: AttributionIndex,
    calibration: Calibration | None,
    folder: Path,
    done: Event,
    withdrawn: int,
) -> None:
    """Folders and rows in one step. The folder may already be ahead of its row, where an attempt
    died between the two: then the child wrote none, and only the row is left to write."""
    place, made = index_folder(index.adapter_digest), folder / "index"
    with lease.fenced():
        row = AttributionIndex.objects.select_for_update().get(pk=index.pk)
        if row.ready_at is None or row.withdrawn_count >= withdrawn:
            return  # another job did this, or builds it anew
        if row.digest != index.digest:
            raise JobPostponed("Its index changed meanwhile: once more.", seconds=AGAIN_SECONDS)
        if made.exists():
            put_in_place(made, place)
        follows = manifest_of(place).get("follows", {})
        known = done["index_digest"] == row.digest or row.digest in follows
        AttributionIndex.objects.filter(pk=row.pk).update(
            digest=done["index_digest"],
            record_count=done["records"],
            size_bytes=size_of(place),
            withdrawn_count=withdrawn,
            earlier_digests=follows if known else follows | {row.digest: "withdrawal"},
        )
        if calibration is not None:
            _take_along(calibration, folder, done)
        record_audit(
            "index.followed",
            actor="trainer",
            subject=f"adapter:{index.adapter_digest}",
            digest=done["index_digest"],
            before=row.digest,
            withdrawn=withdrawn,
        )


def _take_along(calibration: Calibration, folder: Path, done: Event) -> None:
    rows = Calibration.objects.select_for_update().filter(pk=calibration.pk)
    if rows.get().ready_at is None:
        return
    if not done["calibration_digest"]:  # of an older program, without names for its columns
        rows.update(ready_at=None, damaged_at=None)
        return
    put_in_place(folder / "calibration", calibration_folder(calibration.index.adapter_digest))
    fidelity = manifest_of(calibration_folder(calibration.index.adapter_digest))["fidelity"]
    rows.update(
        digest=done["calibration_digest"],
        fidelity=calibration.fidelity | {"withdrawn": fidelity["withdrawn"]},
    )


def _give_up(lease: Lease, index: AttributionIndex, withdrawn: int) -> None:
    """No row is left: the files go, and the model's answers are paid by the base rule."""
    with lease.fenced():
        AttributionIndex.objects.filter(pk=index.pk).update(
            ready_at=None, withdrawn_count=withdrawn, record_count=0, size_bytes=0
        )
        Calibration.objects.filter(index=index).update(ready_at=None, stopped_at=Now())
        remove_folder(index_folder(index.adapter_digest))
        remove_folder(calibration_folder(index.adapter_digest))
        record_audit(
            "index.removed",
            actor="trainer",
            subject=f"adapter:{index.adapter_digest}",
            withdrawn=withdrawn,
        )
    raise JobFailed(
        "All rows that this model learnt are withdrawn. The contributors' part of its answers"
        " goes to their reserve.",
        code="nothing_left",
    )
