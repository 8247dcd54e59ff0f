"""Doors for jobs: an id in, one service each, safe to run twice."""

from __future__ import annotations

from modelfactory.models import (
    AttributionIndex,
    Calibration,
    CalibrationSubset,
    Run,
    Valuation,
    ValueRetraining,
)
from modelfactory.services import (
    ESTIMATE_JOB,
    FIT_JOB,
    FOLLOW_JOB,
    GUARD_JOB,
    INDEX_JOB,
    SUBSET_JOB,
    TRAIN_JOB,
    VALUE_JOB,
    build_attribution_index,
    estimate_contributors,
    fit_calibration,
    follow_withdrawals,
    make_output_guard_again,
    measure_contributor,
    train_run,
    train_subset,
)
from openledger_site.core.jobs import Lease, handles


@handles(TRAIN_JOB)
def train(lease: Lease) -> None:
    related = ("version", "base", "builder")
    train_run(
        lease, Run.objects.select_related(*related).get(public_id=lease.job.payload["run_id"])
    )


@handles(GUARD_JOB, for_others=True)
def guard(lease: Lease) -> None:
    rows = Run.objects.select_related("version")
    make_output_guard_again(lease, rows.get(public_id=lease.job.payload["run_id"]))


@handles(INDEX_JOB, for_others=True)
def index(lease: Lease) -> None:
    digest = lease.job.payload["adapter_digest"]
    rows = AttributionIndex.objects.select_related("run__version", "run__base")
    build_attribution_index(lease, rows.get(adapter_digest=digest))


@handles(FOLLOW_JOB, for_others=True)
def follow(lease: Lease) -> None:
    digest = lease.job.payload["adapter_digest"]
    rows = AttributionIndex.objects.select_related("run__version", "run__builder")
    follow_withdrawals(lease, rows.get(adapter_digest=digest))


@handles(SUBSET_JOB)
def calibrate_subset(lease: Lease) -> None:
    run = "calibration__index__run"
    rows = CalibrationSubset.objects.select_related(
        f"{run}__version", f"{run}__base", f"{run}__builder"
    )
    train_subset(lease, rows.get(pk=lease.job.payload["subset_id"]))


@handles(FIT_JOB)
def calibrate(lease: Lease) -> None:
    run = "index__run"
    rows = Calibration.objects.select_related(f"{run}__version", f"{run}__base", f"{run}__builder")
    fit_calibration(lease, rows.get(pk=lease.job.payload["calibration_id"]))


@handles(VALUE_JOB)
def value_retraining(lease: Lease) -> None:
    run = "valuation__index__run"
    rows = ValueRetraining.objects.select_related(
        f"{run}__version", f"{run}__base", f"{run}__builder"
    )
    measure_contributor(lease, rows.get(pk=lease.job.payload["retraining_id"]))


@handles(ESTIMATE_JOB)
def value_estimate(lease: Lease) -> None:
    run = "index__run"
    rows = Valuation.objects.select_related(f"{run}__version", f"{run}__base", f"{run}__builder")
    estimate_contributors(lease, rows.get(pk=lease.job.payload["valuation_id"]))
