"""Whether an index still holds withdrawn rows, and the job that takes them out. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from datanets.models import Record, VersionRecord
from datanets.selectors import withdrawn_training_records
from modelfactory.models import AttributionIndex, EvaluationResult
from openledger_site.core.jobs import start_job
from openledger_site.core.row_security import all_rows

FOLLOW_JOB = "modelfactory.follow_withdrawals"


@all_rows("a withdrawn row counts, whosever it was")
def is_behind(index: AttributionIndex) -> bool:
    """A row was withdrawn that the index still has. Asked of the rows themselves, so that it holds
    however a row was withdrawn. One query, by the index on (datanet, state)."""
    return withdrawn_training_records(index.run.version).count() > index.withdrawn_count


@all_rows("a withdrawn row counts, whosever it was")
def queue_following(index: AttributionIndex) -> bool:
    """Queue what brings a ready index up to date; false where it is. Asking twice queues once."""
    withdrawn = withdrawn_training_records(index.run.version).count()
    if index.ready_at is None or withdrawn <= index.withdrawn_count:
        return False
    index.job = start_job(
        FOLLOW_JOB,
        queue="attribution",
        # With the number: a job that runs already may have read the rows before the last went.
        subject=f"adapter:{index.adapter_digest}:{withdrawn}",
        owner=index.run.builder,
        payload={"adapter_digest": index.adapter_digest},
    )
    index.save(update_fields=["job"])
    return True


@all_rows("a withdrawal is followed everywhere")
def follow_withdrawal(record_pks: Sequence[int]) -> None:
    """In the transaction of a withdrawal: queue the indexes that learnt the records, and empty what
    evaluation wrote down of them. How many were answered right stays."""
    entries = VersionRecord.objects.filter(record__in=record_pks)
    ids = Record.objects.filter(pk__in=record_pks).values_list("public_id", flat=True)
    EvaluationResult.objects.filter(
        run__version__in=entries.values("version"),
        record_id__in=[str(public_id) for public_id in ids],
    ).update(question="", expected="", base_answer="", tuned_answer="")
    trained_on = entries.filter(split=VersionRecord.Split.TRAIN).values("version")
    indexes = AttributionIndex.objects.filter(run__version__in=trained_on, ready_at__isnull=False)
    for index in indexes.select_related("run__version", "run__builder").order_by("pk"):
        queue_following(index)
