"""The network fee in OPEN: what it would be, ordering it, where an order stands. For wallets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import idempotent
from openledger_site.core.money import format_open
from rewards import services
from rewards.forms.relays import RelayForm
from rewards.models import ChainTransaction, Relay
from rewards.selectors.relays import relay_of

FROM = {
    False: "It is held in your balance and taken when the block is final.",
    True: "It comes out of this deposit once that is credited.",
}
State = Relay.State
ON_CHAIN = (ChainTransaction.State.MINED, ChainTransaction.State.FINAL)


@require_POST
def relay_quote(request: HttpRequest) -> HttpResponse:
    """The most that it can cost, and the message to sign. Nothing is written."""
    form = RelayForm(request.POST)
    if not form.is_valid():
        where, problems = next(iter(form.errors.items()))
        raise DomainError(f"{where}: {problems[0]}", where=where)
    given = form.cleaned_data
    quote = services.quote_relay(
        user=signed_in_user(request),
        account=given["account"],
        action=given["action"],
        given=given,
    )
    most_wei = quote.terms.most_wei
    answer: dict[str, Any] = {
        "quote": quote.token,
        "fee": format_open(most_wei),
        "fee_full": f"At most {format_open(most_wei, digits=18)} OPEN ({most_wei:,} wei)",
        "words": f"At most {format_open(most_wei)} OPEN, what it really costs is taken."
        f" {FROM[quote.is_from_deposit]}",
        "message": quote.message.for_wallet() if quote.message else None,
    }
    return JsonResponse(answer)


@require_POST
@idempotent
def relay_order(request: HttpRequest) -> HttpResponse:
    """Have it sent, by a quote and the signature that it asks for."""
    ordered = services.relay(
        user=signed_in_user(request),
        quote=request.POST.get("quote", ""),
        signature=request.POST.get("signature", ""),
    )
    url = reverse("rewards:relay-state", args=[ordered.public_id])
    return JsonResponse({"id": str(ordered.public_id), "state_url": url}, status=201)


@require_GET
def relay_state(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Where one's own order stands; `transaction` once it is in a block."""
    ordered = relay_of(signed_in_user(request), public_id)
    row = ordered.chain_transaction
    is_on_chain = row.state in ON_CHAIN and ordered.state != State.REVERTED
    answer = {
        "state": ordered.state,
        "words": _in_words(ordered),
        "transaction": row.transaction_hash if is_on_chain else "",
        "block": row.block_number if is_on_chain else None,
        "fee": None if ordered.fee_wei is None else format_open(ordered.fee_wei),
    }
    return JsonResponse(answer)


def _in_words(ordered: Relay) -> str:
    if ordered.state == State.DROPPED:
        return f"It was not sent, and nothing was paid. {ordered.chain_transaction.problem}"
    if ordered.state == State.REVERTED:
        paid = format_open(ordered.fee_wei)
        return f"The contract refused it in its block. Its gas was paid: {paid} OPEN."
    if ordered.state == State.DONE:
        return f"Done. The network fee was {format_open(ordered.fee_wei)} OPEN."
    return ordered.chain_transaction.problem or "On its way."
