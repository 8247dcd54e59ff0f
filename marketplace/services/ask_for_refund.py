"""The consumer wants the fee of an answer back. Two cases need nobody to decide them."""

from __future__ import annotations

from django.db import transaction

from marketplace.models import Inference
from openledger_site.accounts.models import User
from openledger_site.core.errors import Conflict
from rewards.models import RefundRequest
from rewards.services import ask_refund, decide_refund

BROKEN = "The engine stopped with an error before the answer was whole."
EMPTY = "The answer has no visible word."


class NotSettledYet(Conflict):
    code = "not_settled"
    message = "This answer is not settled yet. Ask when its receipt is there."


def ask_for_refund(
    *, inference: Inference, asked_by: User, reason: str, words: str = ""
) -> RefundRequest:
    """Ask once, within the refund window; granted at once for an answer that broke off or is empty.

    Raises `NotSettledYet`, and what `ask_refund` raises.
    """
    if not inference.settled:
        raise NotSettledYet()
    with transaction.atomic():
        request = ask_refund(
            str(inference.public_id), asked_by=asked_by, reason=reason, words=words
        )
        rule = _rule_for(inference)
        if rule:
            request = decide_refund(request, decided_by=None, grant=True, words=rule)
    return request


def _rule_for(inference: Inference) -> str:
    if inference.finish_reason == "error":
        return BROKEN
    return "" if inference.answer.strip() or inference.erased else EMPTY
