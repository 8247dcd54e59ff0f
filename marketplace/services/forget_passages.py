"""The tokens of a prompt spell out the rows that were put into it: they go when one is withdrawn.

What was asked and answered belongs to the consumer and stays, and so do the counts that were
billed.
"""

from __future__ import annotations

from collections.abc import Sequence

from datanets.models import Record, VersionRecord
from marketplace.models import Inference
from openledger_site.core.jobs import Lease, start_job
from openledger_site.core.row_security import all_rows

FORGET_JOB = "marketplace.forget_passages"


def queue_forgetting(record_pks: Sequence[int]) -> None:
    """In the transaction of a withdrawal; there may be too many answers to look through there."""
    start_job(
        FORGET_JOB,
        queue="ingest",
        subject=f"records:{min(record_pks)}-{max(record_pks)}:{len(record_pks)}",
        payload={"records": list(record_pks)},
    )


def forget_passages(lease: Lease) -> None:
    """Empty the prompt of each answer that read one of the records. Safe to run twice."""
    withdrawn = Record.objects.filter(
        pk__in=lease.job.payload["records"], state=Record.State.WITHDRAWN
    )
    gone = {str(public_id) for public_id in withdrawn.values_list("public_id", flat=True)}
    versions = VersionRecord.objects.filter(record__in=withdrawn).values("version")
    answers = Inference.objects.filter(model__run__version__in=versions)
    rows = answers.exclude(passages=[]).exclude(prompt_ids=[]).values_list("pk", "passages")
    for inference_pk, passages in rows.iterator(chunk_size=1_000):
        if any(passage["record"] in gone for passage in passages):
            lease.check()
            Inference.objects.filter(pk=inference_pk).update(prompt_ids=[])


@all_rows("a withdrawn row is gone for everybody")
def any_withdrawn(inference: Inference) -> bool:
    """Whether a row that this answer read is withdrawn by now."""
    read = [passage["record"] for passage in inference.passages]
    rows = Record.objects.filter(public_id__in=read, state=Record.State.WITHDRAWN)
    return bool(read) and rows.exists()
