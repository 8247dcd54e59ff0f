"""An agent without an account pays for one answer by a signature of its wallet (x402)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from marketplace import x402
from marketplace.models import Agent, Inference
from marketplace.selectors import asked_by_name
from marketplace.services.reserve_answer import (
    Sampling,
    check_can_ask,
    priced,
    reserve_answer,
)
from modelfactory.models import Model
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import check_key
from rewards.models import SignedPayment
from rewards.services import (
    InsufficientFunds,
    PaymentTerms,
    check_signature,
    check_terms,
    check_transfer,
    check_unused,
    cover_payment,
    payment_by,
    payment_terms,
    take_payment,
)


class TooManyRequests(DomainError):
    status = 429
    code = "too_many_requests"
    message = "Too many requests without an API key from this address. Wait a minute."


@dataclass(frozen=True)
class Question:
    """What is asked and paid for. `key` is the client's own Idempotency-Key, or empty."""

    model: Model
    messages: Sequence[dict[str, str]]
    sampling: Sampling
    key: str
    agent: Agent | None = None

    @property
    def name(self) -> str:
        """What was asked, as programs call it."""
        return self.agent.api_name if self.agent else self.model.slug

    @property
    def fingerprint(self) -> str:
        asked = [self.name, list(self.messages), asdict(self.sampling), self.key]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def check_rate(address: str) -> None:
    """So many requests without a key a minute, by network address, in each web process."""
    name = f"x402:{address}:{timezone.now():%H%M}"
    cache.add(name, 0, timeout=120)
    if cache.incr(name) > settings.X402_REQUESTS_PER_MINUTE:
        raise TooManyRequests(limit=settings.X402_REQUESTS_PER_MINUTE)


def quote(
    name: str, messages: Sequence[dict[str, str]], sampling: Sampling, key: str
) -> tuple[Question, PaymentTerms]:
    """A question to a public model or agent and the most that its answer can cost; else 404.

    Raises what `reserve_answer` would, so that nobody pays for what cannot be answered.
    """
    check_key(key)
    model, agent = asked_by_name(AnonymousUser(), name)
    check_can_ask(model, messages)
    fee_wei, _ = priced(model, agent.newest if agent else None, messages, sampling)
    return Question(model, messages, sampling, key, agent), payment_terms(fee_wei)


def accept_payment(
    question: Question, terms: PaymentTerms, header: str
) -> tuple[SignedPayment, Inference | None]:
    """Verify a PAYMENT-SIGNATURE and write the payment down, before anything is broadcast.

    A payer whose balance covers the question pays from it, and the answer is reserved at once:
    it is the second of what is returned.
    The same signature for the same question goes on where it was. Raises `PaymentMalformed` (400),
    `PaymentRefused`, `PaymentUsed` (402), `TooManyPayments` (429), `PaymentsAway` (503).
    """
    authorization, signature_text = x402.parse(header, terms)
    signature = check_signature(terms, authorization, signature_text)
    # What was taken is answered, also after it has expired or the price has risen.
    earlier = payment_by(authorization, question.fingerprint)
    if earlier is not None:
        return earlier, None
    check_terms(terms, authorization)
    check_unused(terms, authorization)
    try:
        with transaction.atomic():
            payment = cover_payment(authorization, question.fingerprint)
            inference, is_new = reserve_paid(question, payment)
            return payment, inference if is_new else None
    except InsufficientFunds:
        check_transfer(terms, authorization, signature)
        return take_payment(authorization, signature, question.fingerprint), None


def reserve_paid(question: Question, payment: SignedPayment) -> tuple[Inference, bool]:
    """As `reserve_answer`, once per payment; the caller knows that its money is certain."""
    return reserve_answer(
        consumer=payment.user,
        model=question.model,
        agent=question.agent,
        messages=question.messages,
        sampling=question.sampling,
        channel=Inference.Channel.API,
        key=f"x402:{payment.nonce}",
        payment=payment,
    )
