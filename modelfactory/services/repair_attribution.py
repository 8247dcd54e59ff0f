"""A damaged index or calibration: said in its row, and made again by a job while answers wait."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from modelfactory.attribution.calibration import Calibration as CalibrationFiles
from modelfactory.attribution.index import AttributionIndex as IndexFiles
from modelfactory.attribution.index import IndexDamagedError
from modelfactory.models import AttributionIndex, Calibration
from modelfactory.services.build_index import calibration_folder, index_folder
from modelfactory.services.calibrate_model import locked, queue_fit
from modelfactory.services.train_run import INDEX_JOB
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import start_job


def index_damaged(seen: AttributionIndex) -> bool:
    """Mark the index damaged and queue its building, once its files were looked at again.

    `seen` is the row as it was when the damage was met. False where a job has replaced the index
    meanwhile, or is doing so, and where the files are well: then trying again is all it takes.
    """
    with transaction.atomic():
        rows = AttributionIndex.objects.select_for_update(of=("self",))
        index = rows.select_related("run__builder").get(pk=seen.pk)
        if index.ready_at is None or index.digest != seen.digest or _is_well(index):
            return False
        index.ready_at, index.damaged_at = None, Now()
        index.job = start_job(
            INDEX_JOB,
            queue="attribution",
            subject=f"adapter:{index.adapter_digest}",
            owner=index.run.builder,
            payload={"adapter_digest": index.adapter_digest},
        )
        index.save(update_fields=["ready_at", "damaged_at", "job"])
        record_audit(
            "index.damaged",
            actor="attribution",
            subject=f"adapter:{index.adapter_digest}",
            digest=index.digest,
        )
    return True


def _is_well(index: AttributionIndex) -> bool:
    try:
        return IndexFiles(index_folder(index.adapter_digest)).digest == index.digest
    except IndexDamagedError:
        return False


def calibration_damaged(index: AttributionIndex) -> bool:
    """The same for a calibration: it is fitted again from the retrained adapters, which are kept.

    Where rows were withdrawn that cannot be done; the model is then unmeasured, and says so.
    """
    with transaction.atomic():
        found = Calibration.objects.filter(index=index, ready_at__isnull=False).first()
        if found is None:
            return False
        calibration = locked(found)
        if calibration.ready_at is None or _fits(calibration):
            return False
        Calibration.objects.filter(pk=calibration.pk).update(ready_at=None, damaged_at=Now())
        calibration.refresh_from_db()
        queue_fit(calibration)
        record_audit(
            "calibration.damaged",
            actor="attribution",
            subject=f"adapter:{index.adapter_digest}",
            digest=calibration.digest,
        )
    return True


def _fits(calibration: Calibration) -> bool:
    try:
        files = CalibrationFiles(calibration_folder(calibration.index.adapter_digest))
    except IndexDamagedError:
        return False
    of_this_index = files.identity.index_digest == calibration.index.digest
    return files.digest == calibration.digest and of_this_index
