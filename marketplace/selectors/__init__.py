"""Reads: `answers` is the consumer's side, `earned` the contributor's, `disputes` both sides'."""

from __future__ import annotations

from marketplace.selectors.agents import (
    agent_for,
    agent_for_staff,
    agent_income,
    agent_owned_by,
    asked_by_name,
    listed_agents,
    newest_versions,
    retired_agents_of,
    shows_words,
    taken_down_agents_of,
)
from marketplace.selectors.answers import (
    answers_of,
    conversation,
    income_of,
    inference_for,
    listed_models,
    model_named,
    receipt_for,
    receipt_view,
)
from marketplace.selectors.disputes import dispute_for, dispute_records, disputes_about
from marketplace.selectors.earned import (
    COUNTED_MAX,
    UNLISTED_MAX,
    concerned_answer_for,
    disputable_rows,
    earned_by,
    earned_totals,
    earned_view,
    others_of,
    own_records,
    taught_records,
)
from marketplace.selectors.refunds import refund_for, refund_state
from marketplace.selectors.spending import (
    Month,
    caps_of,
    invoice_rows,
    spending_of,
    spent_since,
)

__all__ = [
    "COUNTED_MAX",
    "UNLISTED_MAX",
    "Month",
    "agent_for",
    "agent_for_staff",
    "agent_income",
    "agent_owned_by",
    "answers_of",
    "asked_by_name",
    "caps_of",
    "concerned_answer_for",
    "conversation",
    "disputable_rows",
    "dispute_for",
    "dispute_records",
    "disputes_about",
    "earned_by",
    "earned_totals",
    "earned_view",
    "income_of",
    "inference_for",
    "invoice_rows",
    "listed_agents",
    "listed_models",
    "model_named",
    "newest_versions",
    "others_of",
    "own_records",
    "receipt_for",
    "receipt_view",
    "refund_for",
    "refund_state",
    "retired_agents_of",
    "shows_words",
    "spending_of",
    "spent_since",
    "taken_down_agents_of",
    "taught_records",
]
