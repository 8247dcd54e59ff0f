"""Doors for jobs: an id in, one service each, safe to run twice."""

from __future__ import annotations

from modelfactory.models import AttributionIndex, Run
from modelfactory.services import INDEX_JOB, TRAIN_JOB, build_attribution_index, train_run
from openledger_site.core.jobs import Lease, handles


@handles(TRAIN_JOB)
def train(lease: Lease) -> None:
    related = ("version", "base", "builder")
    train_run(
        lease, Run.objects.select_related(*related).get(public_id=lease.job.payload["run_id"])
    )


@handles(INDEX_JOB)
def index(lease: Lease) -> None:
    digest = lease.job.payload["adapter_digest"]
    rows = AttributionIndex.objects.select_related("run__version", "run__base")
    build_attribution_index(lease, rows.get(adapter_digest=digest))
