"""POST /v1/chat/completions without an API key: pay for one answer by a signature (x402).

No signature: 402 and the price. With one: verified, written down, settled on chain; the answer is
given once the payment's block is final, because only then are its wei in the books.
"""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import reverse

from marketplace import openai_format, openai_stream, x402
from marketplace.forms import ChatRequest, parse_chat_request
from marketplace.models import Inference
from marketplace.services import (
    Question,
    accept_payment,
    check_rate,
    quote,
    reserve_paid,
    stream_answer,
)
from openledger_site.core.errors import Conflict, DomainError, PaymentRequired, Unavailable
from rewards.models import SignedPayment
from rewards.services import (
    ContractsMissing,
    PaymentTerms,
    PaymentUsed,
    is_certain,
    payment_terms,
    spendable_wei,
)

POLL_SECONDS = 0.2


class PaymentPending(Unavailable):
    code = "payment_pending"
    message = (
        "Your payment was sent to the chain and is not final yet. Send the same request with the"
        " same PAYMENT-SIGNATURE again: you pay once and get the answer then."
    )


def is_offered() -> bool:
    """Whether payments by signature are switched on and there are contracts to pay to."""
    if not settings.X402_ENABLED:
        return False
    try:
        payment_terms(1)
    except ContractsMissing:
        return False
    return True


async def answer_for_signature(request: HttpRequest) -> HttpResponseBase:
    """The answer, or 402 with what it costs. Other refusals are raised as `DomainError`."""
    await sync_to_async(check_rate)(request.META.get("REMOTE_ADDR", ""))
    wanted = parse_chat_request(request.body)
    question, terms = await sync_to_async(quote)(
        wanted.model, wanted.messages, wanted.sampling, request.headers.get("Idempotency-Key", "")
    )
    signature = request.headers.get(x402.SIGNATURE)
    if signature is None:
        return _price(question, terms, PaymentRequired(f"{x402.SIGNATURE} header is required"))
    try:
        payment, inference = await sync_to_async(accept_payment)(question, terms, signature)
        await _wait_until_certain(payment)
    except PaymentRequired as refusal:
        return _price(question, terms, refusal, refused=True)
    try:
        return await _answer(question, terms, wanted, payment, inference)
    except Conflict:  # another request with this signature is being answered: it gets what was paid
        raise
    except DomainError as refusal:  # paid, not answered: the money is on the payer's balance
        refusal.message += " What you paid is on your wallet's balance and pays the next request."
        response = openai_format.error_response(refusal, refusal.status)
        response[x402.RESPONSE] = x402.encode(x402.settled(payment))
        return response


async def _wait_until_certain(payment: SignedPayment) -> None:
    """Raises `PaymentPending` when that takes too long, `PaymentFailed` when it never will be."""
    rounds = max(1, int(settings.X402_WAIT_SECONDS / POLL_SECONDS))
    for _ in range(rounds):
        if await sync_to_async(is_certain)(payment):
            return
        await asyncio.sleep(POLL_SECONDS)
    raise PaymentPending()


async def _answer(
    question: Question,
    terms: PaymentTerms,
    wanted: ChatRequest,
    payment: SignedPayment,
    inference: Inference | None,
) -> HttpResponseBase:
    is_new = inference is not None
    if inference is None:
        inference, is_new = await sync_to_async(reserve_paid)(question, payment)
    if not is_new and not question.key:
        # The signature is on chain for all to read: without the client's own key it proves nothing.
        return _price(question, terms, PaymentUsed(), refused=True)
    response: HttpResponseBase
    if wanted.stream and is_new:
        response = openai_stream.stream(inference, wanted.include_usage)
    else:
        if is_new:
            async for _ in stream_answer(inference):
                pass
            await inference.arefresh_from_db(fields=openai_format.ANSWER_FIELDS)
        response = JsonResponse(await sync_to_async(_body)(inference, payment))
    response[x402.RESPONSE] = x402.encode(x402.settled(payment))
    response["OpenLedger-Receipt"] = settings.SITE_URL + openai_stream.receipt_url(inference)
    return response


def _body(inference: Inference, payment: SignedPayment) -> dict[str, Any]:
    body = openai_format.completion(inference, openai_stream.receipt_url(inference))
    body["openledger"]["payment"] = {
        "payer": payment.payer,
        "taken_wei": str(payment.taken_wei),
        "balance_wei": str(spendable_wei(payment.user)),
        "transaction": payment.transaction_hash,
    }
    return body


def _price(
    question: Question, terms: PaymentTerms, refusal: PaymentRequired, *, refused: bool = False
) -> JsonResponse:
    """402: what an answer costs, in the header as x402 says and in the body for people."""
    document = x402.required(
        terms,
        url=settings.SITE_URL + reverse("v1:chat-completions"),
        description=f"One answer by {question.name}: the most it can cost."
        " What it does not cost stays on your wallet's balance and pays the next answer.",
        error=refusal.message,
    )
    response = JsonResponse(document | openai_format.error_body(refusal), status=refusal.status)
    response[x402.REQUIRED] = x402.encode(document)
    response["x-should-retry"] = "false"
    if refused:
        response[x402.RESPONSE] = x402.encode(x402.not_settled(terms, refusal.code))
    return response
