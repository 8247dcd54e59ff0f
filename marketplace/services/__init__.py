"""Asking, answering, settling, disputing. One file a verb."""

from __future__ import annotations

from marketplace.services.ask_for_refund import ask_for_refund
from marketplace.services.audit_dispute import audit_dispute
from marketplace.services.erase_answers import (
    AnswerUnderWay,
    ReceiptErased,
    erasable_by,
    erase_answer,
    start_erasing,
)
from marketplace.services.limit_spending import (
    SpendingCapReached,
    mail_spending_alert,
    set_spending_cap,
)
from marketplace.services.make_agent import Answering, change_agent, make_agent, retire_agent
from marketplace.services.pay_by_signature import (
    Question,
    accept_payment,
    check_rate,
    quote,
    reserve_paid,
)
from marketplace.services.raise_dispute import AUDIT_JOB, audit_again, raise_dispute
from marketplace.services.reserve_answer import Sampling, reserve_answer
from marketplace.services.settle_again import settle_again
from marketplace.services.settle_inference import settle_inference
from marketplace.services.stream_answer import finish_answer, stream_answer
from marketplace.services.sweep_answers import sweep_answers
from marketplace.services.take_down_agent import (
    answer_takedown,
    appeal_takedown,
    mail_about_takedown,
    take_down_agent,
)

__all__ = [
    "AUDIT_JOB",
    "AnswerUnderWay",
    "Answering",
    "Question",
    "ReceiptErased",
    "Sampling",
    "SpendingCapReached",
    "accept_payment",
    "answer_takedown",
    "appeal_takedown",
    "ask_for_refund",
    "audit_again",
    "audit_dispute",
    "change_agent",
    "check_rate",
    "erasable_by",
    "erase_answer",
    "finish_answer",
    "mail_about_takedown",
    "mail_spending_alert",
    "make_agent",
    "quote",
    "raise_dispute",
    "reserve_answer",
    "reserve_paid",
    "retire_agent",
    "set_spending_cap",
    "settle_again",
    "settle_inference",
    "start_erasing",
    "stream_answer",
    "sweep_answers",
    "take_down_agent",
]
