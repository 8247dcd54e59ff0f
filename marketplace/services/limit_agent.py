"""What an agent may cost whoever asks it: one answer, and one person in a day."""

from __future__ import annotations

from marketplace.agent_models import TOKENS_MAX
from marketplace.maker_part import fee_within
from marketplace.models import Agent, AgentVersion, Inference
from marketplace.selectors.spending import SPENT
from marketplace.services.limit_spending import day_of
from modelfactory.models import Model
from modelfactory.services.pricing import TOKENS_PER_PRICE
from openledger_site.core.errors import Conflict, PaymentRequired
from openledger_site.core.money import format_open


class AgentRetired(Conflict):
    code = "agent_retired"
    message = "Its owner has retired this agent, so it answers nobody. You were not charged."


class AgentBudgetReached(PaymentRequired):
    code = "agent_budget_reached"


def tokens_allowed(version: AgentVersion, prompt_tokens: int, asked: int) -> int:
    """At most so many tokens of the `asked` are written: as many as the agent's settings allow and
    its budget for one answer pays, after `prompt_tokens` were read.

    Raises `AgentBudgetReached` where that is not one, `AgentTakenDown` and `AgentRetired`.
    """
    agent = version.agent
    agent.check_not_taken_down()
    if agent.retired_at is not None:
        raise AgentRetired()
    tokens = min(asked, version.max_tokens)
    cap = agent.answer_cap_wei
    if cap is None:
        return tokens
    of_model = fee_within(cap, version.maker_ppm)
    tokens = min(tokens, tokens_within(agent.model, prompt_tokens, of_model))
    if tokens < 1:
        raise AgentBudgetReached(
            f"Reading this could cost more than the {format_open(cap)} OPEN that one answer of"
            " this agent may cost. Ask a shorter question.",
            where="messages",
            limit=cap,
        )
    return tokens


def tokens_within(model: Model, prompt_tokens: int, cap_wei: int) -> int:
    """How many tokens can be written so that the fee is at most `cap_wei`: the formula of `fee_wei`
    turned round, exact to the wei. Negative when reading alone costs more.
    """
    left = (cap_wei - model.platform_fee_wei) * TOKENS_PER_PRICE
    left -= prompt_tokens * model.price_prompt_wei
    if left >= 0 and not model.price_completion_wei:
        return TOKENS_MAX
    return int(left // (model.price_completion_wei or 1))


def check_caller_day(agent: Agent, inference: Inference) -> None:
    """Call in the transaction that has just held and written down this answer, as with
    `check_spending_caps`, whose lock it needs. Raises `AgentBudgetReached` (402).
    """
    limit = agent.caller_day_wei
    if limit is None:
        return
    asked = Inference.objects.filter(
        consumer=inference.consumer_id,
        agent_version__agent=agent,
        created_at__gte=day_of(inference),
    )
    if int(asked.aggregate(wei=SPENT)["wei"]) > limit:
        raise AgentBudgetReached(
            f"This could exceed the {format_open(limit)} OPEN that one person may spend on this"
            " agent in a day. Ask again tomorrow (UTC), or ask its model.",
            where="day",
            limit=limit,
        )
