"""Browse models, ask them, read what an answer cost and who earned from it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from marketplace import receipts, selectors
from marketplace.agent_models import TOKENS_MAX
from marketplace.forms import ChatForm
from marketplace.models import Agent, Inference
from marketplace.services import (
    ReceiptErased,
    Sampling,
    erasable_by,
    reserve_answer,
    stream_answer,
)
from modelfactory.models import Model
from modelfactory.selectors import index_of, model_for
from modelfactory.services import short_answer_wei
from openledger_site.accounts.models import User
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError
from rewards.services import spendable_wei

ANSWERS_PER_PAGE = 25
AGENTS_SHOWN = 6


@login_not_required
@require_GET
def browse(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("q", "")[:100]
    models = selectors.listed_models(request.user, search=search)
    page = Paginator(models, ANSWERS_PER_PAGE).get_page(request.GET.get("page"))
    agents = selectors.listed_agents(request.user, search=search)[:AGENTS_SHOWN]
    priced = [(model, short_answer_wei(model)) for model in page]
    context = {"page": page, "models": priced, "search": search, "agents": agents}
    return render(request, "marketplace/browse.html", context)


@require_GET
def answers(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.answers_of(request.user), ANSWERS_PER_PAGE)
    context = {
        "page": page.get_page(request.GET.get("page")),
        "some_erasable": erasable_by(signed_in_user(request)).exists(),
    }
    return render(request, "marketplace/answers.html", context)


@require_GET
def answer_part(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One answer as a chat bubble; it asks again by itself until its receipt is there."""
    inference = selectors.inference_for(request.user, public_id)
    if not getattr(request, "htmx", False):
        return redirect(inference.chat_url)
    return render(request, "marketplace/_answer.html", {"inference": inference})


@require_GET
def receipt(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """The consumer's receipt; the ledger's links lead here, so whom it paid is sent on."""
    if not selectors.answers_of(request.user).filter(public_id=public_id).exists():
        concerned = selectors.concerned_answer_for(request.user, public_id)
        return redirect("marketplace:earned-detail", concerned.public_id)
    inference = selectors.inference_for(request.user, public_id)
    context: dict[str, Any] = {"inference": inference}
    if inference.settled:
        context |= selectors.receipt_view(request.user, inference)
        context |= selectors.refund_state(inference)
    part = "#body" if getattr(request, "htmx", False) else ""
    return render(request, f"marketplace/receipt.html{part}", context)


@require_GET
def receipt_download(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """The receipt as `manage.py verify_receipt` reads it."""
    found = selectors.receipt_for(request.user, public_id)
    if found.inference.erased:
        raise ReceiptErased()
    public = receipts.signing_key(settings.SECRET_KEY).public_key().public_bytes_raw().hex()
    response = JsonResponse(
        {
            "body": found.body,
            "digest": found.digest,
            "signature": found.signature,
            "public_key": public,
        }
    )
    response["Content-Disposition"] = f'attachment; filename="receipt-{public_id}.json"'
    return response


@login_not_required
@require_GET
def income(request: HttpRequest, slug: str) -> HttpResponse:
    """A panel for the model's page: what it has earned."""
    model = model_for(request.user, slug)
    return render(
        request, "marketplace/_income.html", {"model": model, **selectors.income_of(model)}
    )


@require_http_methods(["GET", "POST"])
async def chat(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The chat page; POST asks, streaming where the page's script asks for a stream."""
    user = await request.auser()
    return await _chat(request, await sync_to_async(model_for)(user, slug), None)


@require_http_methods(["GET", "POST"])
async def agent_chat(request: HttpRequest, slug: str) -> HttpResponseBase:
    """As `chat`, with an agent."""
    user = await request.auser()
    agent = await sync_to_async(selectors.agent_for)(user, slug)
    agent.check_not_taken_down()  # its opening words are not shown either
    return await _chat(request, agent.model, agent)


async def _chat(request: HttpRequest, model: Model, agent: Agent | None) -> HttpResponseBase:
    user = await request.auser()
    if not isinstance(user, User):
        raise TypeError("The login middleware lets nobody else through.")
    form = ChatForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        return await sync_to_async(_chat_page)(request, user, model, agent, form)
    inference, is_new = await sync_to_async(reserve_answer)(
        consumer=user,
        model=model,
        agent=agent,
        maker_ppm=form.cleaned_data["maker_ppm"],
        messages=[{"role": "user", "content": form.cleaned_data["prompt"]}],
        sampling=Sampling(max_tokens=TOKENS_MAX) if agent else Sampling(),
        channel=Inference.Channel.CHAT,
        key=request.headers.get("Idempotency-Key") or request.POST.get("idempotency_key", ""),
    )
    if "application/x-ndjson" in request.headers.get("accept", ""):
        return StreamingHttpResponse(_lines(inference, is_new), content_type="application/x-ndjson")
    if is_new:
        async for _ in stream_answer(inference):
            pass
    return redirect(inference.chat_url)


def _chat_page(
    request: HttpRequest, user: User, model: Model, agent: Agent | None, form: ChatForm
) -> HttpResponse:
    context = {
        "model": model,
        "agent": agent,
        "version": agent.newest if agent else None,
        "asked": agent or model,
        "form": form,
        "short_answer_wei": short_answer_wei(model),
        "conversation": selectors.conversation(user, model, agent),
        "spendable_wei": spendable_wei(user),
        "index": index_of(model.adapter_digest),
        "idempotency_key": uuid.uuid4(),
    }
    status = 422 if form.errors else 200
    return render(request, "marketplace/chat.html", context, status=status)


async def _lines(inference: Inference, is_new: bool) -> AsyncIterator[str]:
    """The stream of `static/js/chat.js`: tokens, then where the finished bubble is."""
    try:
        if is_new:
            async for event in stream_answer(inference):
                if event.text_delta:
                    yield _line(type="token", text=event.text_delta)
    except DomainError as refusal:
        yield _line(type="error", message=refusal.message)
        return
    url = reverse("marketplace:answer", args=[inference.public_id])
    yield _line(type="done", html_url=url)


def _line(**event: str) -> str:
    return json.dumps(event) + "\n"
