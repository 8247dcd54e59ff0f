"""Before a word is generated: who asks whom what, and the most that it can cost."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from django.db import IntegrityError, transaction

from marketplace.maker_part import with_maker_part
from marketplace.models import Agent, AgentVersion, Inference
from marketplace.services.limit_agent import check_caller_day, tokens_allowed
from marketplace.services.limit_spending import check_spending_caps
from modelfactory.models import Model
from modelfactory.selectors import index_of
from modelfactory.services import check_serving, price_wei
from openledger_site.accounts.closing import keep_open
from openledger_site.accounts.models import ApiKey, User
from openledger_site.core.errors import Conflict, DomainError, Unavailable
from openledger_site.core.idempotency import check_key
from rewards.models import SignedPayment
from rewards.services import place_hold

MAX_TOKENS_DEFAULT = 64
MAX_TOKENS_LIMIT = 1024
MESSAGE_BYTES_MAX = 32_000
# What a chat template adds around a message, generously: role marks and line ends.
TEMPLATE_TOKENS_PER_MESSAGE = 16
# The retrieved facts are read by the model too, so they are part of the prompt that is paid for.
CONTEXT_BYTES_MAX = 4_000
# An answer that was given is owed until its attribution is done, also when that stands still for
# days. The sweep frees those that were never given much earlier.
HOLD_SECONDS = 30 * 86_400


@dataclass(frozen=True)
class Sampling:
    """How to generate; temperature 0 is greedy."""

    max_tokens: int = MAX_TOKENS_DEFAULT
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class MessagesInvalid(DomainError):
    status = 400
    code = "invalid_messages"


class ModelNotReady(Unavailable):
    code = "model_not_ready"
    message = (
        "This model is almost ready: how its answers are credited is still being prepared."
        " Try again in a minute."
    )


class StillAnswering(Conflict):
    code = "still_answering"
    message = "The first request with this Idempotency-Key is still being answered."


class AgentPriceChanged(Conflict):
    code = "agent_price_changed"


class KeyReusedForAnother(DomainError):
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another question. Send a new key."


def reserve_answer(
    *,
    consumer: User,
    model: Model,
    messages: Sequence[dict[str, str]],
    sampling: Sampling,
    channel: str,
    agent: Agent | None = None,
    maker_ppm: int | None = None,
    key: str = "",
    api_key: ApiKey | None = None,
    payment: SignedPayment | None = None,
) -> tuple[Inference, bool]:
    """Hold the highest possible fee and open the answer; `(inference, is_new)`.

    With an `agent`, whose model is `model`, its newest version says what is read and how much is
    written; `maker_ppm` is what its maker asked on top when the person saw it. The same `key` gives
    the first answer again. Raises `InsufficientFunds`, `SpendingCapReached` and
    `AgentBudgetReached` (402), `AgentRetired`, `AgentPriceChanged`, `ModelNotReady`,
    `RightToServeEnded` (403), `MessagesInvalid`, `KeyTooLong`, `KeyReusedForAnother`,
    `StillAnswering`.
    """
    _check_messages(messages)
    check_key(key)
    name = agent.api_name if agent else model.slug
    fingerprint = _fingerprint(name, messages, sampling)
    existing = _existing(consumer, key, fingerprint)
    if existing is not None:
        return existing, False
    _check_model(model)
    version = agent.newest if agent else None
    if version is not None:
        _check_price_seen(version, maker_ppm)
    fee_wei, sampling = priced(model, version, messages, sampling)
    public_id = uuid.uuid4()
    try:
        with transaction.atomic():
            keep_open(consumer)
            hold = place_hold(
                consumer,
                max(1, fee_wei),
                key=f"answer:{public_id}",
                reason=f"Answer by {agent.name if agent else model.name}",
                expires_in_seconds=HOLD_SECONDS,
            )
            inference = Inference.objects.create(
                public_id=public_id,
                consumer=consumer,
                model=model,
                agent_version=version,
                api_key=api_key,
                channel=channel,
                idempotency_key=key,
                fingerprint=fingerprint,
                messages=list(messages),
                sampling=asdict(sampling),
                adapter_digest=model.adapter_digest,
                hold=hold,
                payment=payment,
            )
            check_spending_caps(inference)
            if agent is not None:
                check_caller_day(agent, inference)
    except IntegrityError:
        # Another request with this key was a moment faster; its hold stands, ours is rolled back.
        first = _existing(consumer, key, fingerprint)
        if first is None:
            raise
        return first, False
    return inference, True


def _fingerprint(name: str, messages: Sequence[dict[str, str]], sampling: Sampling) -> str:
    """SHA-256 of what is asked."""
    asked = json.dumps([name, list(messages), asdict(sampling)], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _check_price_seen(version: AgentVersion, maker_ppm: int | None) -> None:
    if maker_ppm not in (None, version.maker_ppm):
        raise AgentPriceChanged(
            f"Its maker asks {version.maker_percent} % on top of the model's price now. You were"
            " not charged: load this page again and ask if that suits you."
        )


def check_can_ask(model: Model, messages: Sequence[dict[str, str]]) -> None:
    """What would stop an answer, before anything is paid. Raises as `reserve_answer` does."""
    _check_messages(messages)
    _check_model(model)


def _check_model(model: Model) -> None:
    check_serving(model.run)
    if _is_new(model):
        raise ModelNotReady()


def priced(
    model: Model,
    version: AgentVersion | None,
    messages: Sequence[dict[str, str]],
    sampling: Sampling,
) -> tuple[int, Sampling]:
    """The most that an answer can cost, in wei, and how it is generated: an agent writes no more
    than its settings and its budget allow, and its maker's part comes on top.
    Raises `AgentBudgetReached` and `AgentRetired`.
    """
    if version is None:
        return highest_fee_wei(model, messages, sampling.max_tokens), sampling
    messages = version.before(messages)
    allowed = tokens_allowed(version, highest_prompt(model, messages), sampling.max_tokens)
    fee_wei = highest_fee_wei(model, messages, allowed)
    return with_maker_part(fee_wei, version.maker_ppm), replace(sampling, max_tokens=allowed)


def highest_fee_wei(model: Model, messages: Sequence[dict[str, str]], max_tokens: int) -> int:
    """The most this can cost, in wei."""
    return price_wei(model, highest_prompt(model, messages), max_tokens)


def highest_prompt(model: Model, messages: Sequence[dict[str, str]]) -> int:
    """The most tokens that are read. A byte-level tokenizer never makes more tokens than bytes."""
    prompt = sum(
        len(message["content"].encode()) + TEMPLATE_TOKENS_PER_MESSAGE for message in messages
    )
    prompt += CONTEXT_BYTES_MAX + TEMPLATE_TOKENS_PER_MESSAGE
    return min(prompt, model.base.context_tokens or prompt)


def _check_messages(messages: Sequence[dict[str, str]]) -> None:
    if not messages or messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise MessagesInvalid("The last message must be a question by the user.", where="messages")
    if sum(len(message["content"].encode()) for message in messages) > MESSAGE_BYTES_MAX:
        raise MessagesInvalid(
            "The conversation is too long. Send fewer or shorter messages.",
            where="messages",
            limit=MESSAGE_BYTES_MAX,
        )


def _existing(consumer: User, key: str, fingerprint: str) -> Inference | None:
    if not key:
        return None
    # With its model: the API writes the answer down where no query may be made.
    with_model = Inference.objects.select_related("model", "agent_version__agent")
    found = with_model.filter(consumer=consumer, idempotency_key=key).first()
    if found is None:
        return None
    if found.fingerprint != fingerprint:
        raise KeyReusedForAnother(where="Idempotency-Key")
    if found.state == Inference.State.ANSWERING:
        raise StillAnswering()
    return found


def _is_new(model: Model) -> bool:
    """Its first index is being built, which takes a minute. Afterwards answers are given at any
    time: while an index is mended they wait for their attribution, without one the base rule pays.
    """
    index = index_of(model.adapter_digest)
    return index is not None and index.is_new
