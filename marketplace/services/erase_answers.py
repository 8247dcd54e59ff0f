"""A consumer has erased what they asked and what was answered (docs/decisions/0047).

Text, tokens and the receipt's spelling of them go; what was paid, to whom and for which rows stays.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from marketplace import receipts
from marketplace.models import Dispute, Inference, Receipt
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from openledger_site.core.jobs import JobPostponed, Lease, start_job
from openledger_site.core.models import Job

ERASE_JOB = "marketplace.erase_answers"
AUDIT_WAIT_SECONDS = 600


class AnswerUnderWay(Conflict):
    code = "answer_under_way"
    message = "This answer is not finished yet. Erase it once its receipt is there."


class AnswerInDispute(Conflict):
    code = "answer_in_dispute"
    message = (
        "A contributor doubts the attribution of this answer, and an audit is reading it. Erase it"
        " once the audit has ended, at most some hours from now."
    )


class ReceiptErased(Conflict):
    code = "receipt_erased"
    message = (
        "You had this answer erased, so its receipt cannot be checked any more; only a copy from"
        " before can. What it paid is on its page."
    )


def erase_answer(*, inference: Inference, actor: User) -> None:
    """Erase one answer for good; doing it twice changes nothing.

    Raises `AnswerUnderWay` and `AnswerInDispute`.
    """
    with transaction.atomic():
        row = Inference.objects.select_for_update(no_key=True).get(pk=inference.pk)
        if row.erased:
            return
        if not row.ended:
            raise AnswerUnderWay()
        if any(not dispute.stranded for dispute in _open_disputes(row)):
            raise AnswerInDispute()
        _erase(row)
        record_audit("answer.erased", actor=actor, subject=f"answer:{row.public_id}")


def start_erasing(*, consumer: User) -> Job:
    """Queue the erasure of everything that a person asked up to now, and of nothing later."""
    with transaction.atomic():
        newest = Inference.objects.filter(consumer=consumer).aggregate(pk=Max("pk"))["pk"] or 0
        job = start_job(
            ERASE_JOB, queue="ingest", subject=f"answers of user:{consumer.pk} to:{newest}",
            owner=consumer, payload={"consumer": consumer.pk, "newest": newest},
        )  # fmt: skip
        record_audit("answers.erase", actor=consumer, subject=f"user:{consumer.public_id}")
    return job


def erase_answers(lease: Lease) -> None:
    """One after the other, so that a stop in between leaves whole ones. Safe to run twice.

    Those that an audit is reading follow when it has ended: whoever closed their account cannot
    come back for them. Those under way are left.
    """
    consumer = User.objects.get(pk=lease.job.payload["consumer"])
    due = erasable_by(consumer)
    if (newest := lease.job.payload.get("newest")) is not None:  # jobs of an earlier build: all
        due = due.filter(pk__lte=newest)
    in_dispute = 0
    for inference in due.order_by("pk").iterator(chunk_size=200):
        lease.check()
        try:
            erase_answer(inference=inference, actor=consumer)
        except AnswerInDispute:
            in_dispute += 1
    if in_dispute:
        raise JobPostponed("An audit is reading some of the answers.", seconds=AUDIT_WAIT_SECONDS)


def erasable_by(consumer: User) -> QuerySet[Inference]:
    """What a person asked that has ended and is not erased yet."""
    own = Inference.objects.filter(consumer=consumer, erased_at=None)
    return own.filter(state__in=Inference.ENDED)


def _open_disputes(inference: Inference) -> QuerySet[Dispute]:
    found = Dispute.objects.filter(inference=inference).exclude(state=Dispute.State.DECIDED)
    return found.select_related("job")


def _erase(inference: Inference) -> None:
    now = timezone.now()
    inference.messages, inference.answer, inference.fingerprint = [], "", ""
    inference.prompt_ids, inference.response_ids, inference.erased_at = [], [], now
    inference.sampling = {**inference.sampling, "stop": []}  # words of theirs, too
    inference.save(
        update_fields=[
            "messages", "answer", "fingerprint", "prompt_ids", "response_ids", "sampling",
            "erased_at",
        ]
    )  # fmt: skip
    for receipt in Receipt.objects.filter(inference=inference):
        receipt.body = receipts.without_text(receipt.body, now.isoformat())
        receipt.save(update_fields=["body"])
