"""Test rows: made from decided rows, met by reviewers as if new, taken out again."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from datanets.models import GoldAnswer, GoldRow, Record, Review
from datanets.selectors.quality import VOTE_OF
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError


def make_gold(*, record: Record, actor: User, explanation: str) -> GoldRow:
    """A decided row becomes a test: its decision is the expected answer. Raises `DomainError` for a
    row that waits, `Conflict` for one that is a test already."""
    expected = VOTE_OF.get(Record.State(record.state))
    if expected is None:
        raise DomainError("Only a decided row can be a test row.", where="record")
    if not explanation.strip():
        raise DomainError("Say what reviewers should learn from it.", where="explanation")
    try:
        with transaction.atomic():
            gold = GoldRow.objects.create(
                record=record,
                expected=expected,
                explanation=explanation.strip()[:500],
                created_by=actor,
            )
            _audit("gold.make", gold, actor)
    except IntegrityError as problem:
        raise Conflict("This row is a test row already.") from problem
    return gold


def retire_gold(*, gold: GoldRow, actor: User) -> None:
    """Show it to nobody any more; the answers stay."""
    with transaction.atomic():
        GoldRow.objects.filter(pk=gold.pk).update(retired=True)
        _audit("gold.retire", gold, actor)


def answer_gold(*, gold: GoldRow, reviewer: User, verdict: str) -> GoldAnswer:
    """What a reviewer said, once; a flag counts as neither right nor wrong."""
    if verdict not in (*Review.VOTES, Review.Verdict.FLAG):
        raise DomainError("A verdict is approve, reject or flag.", where="verdict")
    answer, _ = GoldAnswer.objects.get_or_create(
        gold=gold, reviewer=reviewer, defaults={"verdict": verdict}
    )
    return answer


def _audit(action: str, gold: GoldRow, actor: User) -> None:
    datanet = gold.record.datanet
    record_audit(action, actor=actor, subject=f"datanet:{datanet.public_id}", gold=gold.pk)
