"""The OpenAI-compatible API under /v1: the real `openai` client talks to it unchanged."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from marketplace import openai_format
from marketplace.forms import parse_chat_request
from marketplace.models import Inference
from marketplace.selectors import listed_models
from marketplace.services import reserve_answer, stream_answer
from modelfactory.models import Model
from modelfactory.selectors import model_for
from openledger_site.accounts.models import ApiKey
from openledger_site.accounts.services import authenticate_api_key
from openledger_site.core.errors import DomainError, NotAllowed

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def api_view(view: View) -> View:
    """Authenticate by API key and answer every refusal in OpenAI's error shape."""

    @functools.wraps(view)
    async def wrapper(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            key = await sync_to_async(_authenticate)(request)
            return await view(request, key, **kwargs)
        except Http404:
            refusal = DomainError(
                "No such model, or it is not yours to use.", code="model_not_found"
            )
            return openai_format.error_response(refusal, 404)
        except DomainError as refusal:
            return openai_format.error_response(refusal, refusal.status)

    return csrf_exempt(login_not_required(wrapper))


class Unauthenticated(DomainError):
    status = 401
    code = "invalid_api_key"
    message = "Send a valid API key as `Authorization: Bearer ol_live_…`."


def _authenticate(request: HttpRequest) -> ApiKey:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    key = authenticate_api_key(secret.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise Unauthenticated()
    if "inference" not in key.scopes:
        raise NotAllowed("This key may not ask models. Make one with the scope “inference”.")
    return key


@require_GET
@api_view
async def model_list(request: HttpRequest, key: ApiKey) -> HttpResponseBase:
    models = await sync_to_async(lambda: list(listed_models(key.user)[:1000]))()
    data = [openai_format.model_object(model) for model in models]
    return JsonResponse({"object": "list", "data": data})


@require_GET
@api_view
async def model_detail(request: HttpRequest, key: ApiKey, name: str) -> HttpResponseBase:
    model = await sync_to_async(_model)(key, name)
    return JsonResponse(openai_format.model_object(model))


def _model(key: ApiKey, name: str) -> Model:
    """`slug`, or `slug@digest12`, which pins the weights."""
    slug, _, digest = name.partition("@")
    if "\x00" in slug:  # what PostgreSQL cannot even look for
        raise Http404("No such model.")
    model = model_for(key.user, slug)
    if digest and not model.adapter_digest.startswith(digest):
        raise Http404("Other weights.")
    return model


@require_POST
@api_view
async def chat_completions(request: HttpRequest, key: ApiKey) -> HttpResponseBase:
    wanted = parse_chat_request(request.body)
    model = await sync_to_async(_model)(key, wanted.model)
    inference, is_new = await sync_to_async(reserve_answer)(
        consumer=key.user,
        model=model,
        messages=wanted.messages,
        sampling=wanted.sampling,
        channel=Inference.Channel.API,
        key=request.headers.get("Idempotency-Key", ""),
        api_key=key,
    )
    if wanted.stream and is_new:
        return _stream(inference, wanted.include_usage)
    if is_new:
        async for _ in stream_answer(inference):
            pass
        await inference.arefresh_from_db(fields=openai_format.ANSWER_FIELDS)
    return JsonResponse(openai_format.completion(inference, _receipt_url(inference)))


def _receipt_url(inference: Inference) -> str:
    return reverse("marketplace:receipt", args=[inference.public_id])


def _stream(inference: Inference, include_usage: bool) -> StreamingHttpResponse:
    response = StreamingHttpResponse(
        _server_sent_events(inference, include_usage), content_type="text/event-stream"
    )
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return response


async def _server_sent_events(inference: Inference, include_usage: bool) -> AsyncIterator[str]:
    created = int(time.time())
    chunk = functools.partial(openai_format.chunk, inference, created, include_usage)
    yield _event(chunk({"role": "assistant", "content": ""}))
    try:
        async for event in stream_answer(inference):
            if event.text_delta:
                yield _event(chunk({"content": event.text_delta}))
            if event.finish_reason:
                yield _event(chunk({}, finish_reason=event.finish_reason))
    except DomainError as refusal:
        yield _event(openai_format.error_body(refusal))
        return
    if include_usage:
        await inference.arefresh_from_db(fields=openai_format.ANSWER_FIELDS)
        yield _event(openai_format.usage_chunk(inference, created, _receipt_url(inference)))
    yield "data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document)}\n\n"
