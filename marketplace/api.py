"""The OpenAI-compatible API under /v1: the real `openai` client talks to it unchanged."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketplace import openai_format, openai_stream
from marketplace.agent_api import answer_for_signature, is_offered
from marketplace.forms import parse_chat_request
from marketplace.models import Inference
from marketplace.selectors import (
    asked_by_name,
    inference_for,
    listed_agents,
    listed_models,
    newest_versions,
)
from marketplace.services import AnswerUnderWay, erase_answer, reserve_answer, stream_answer
from openledger_site.accounts.models import ApiKey
from openledger_site.accounts.services import authenticate_api_key
from openledger_site.core.errors import DomainError, NotAllowed
from openledger_site.core.row_security import read_as

LISTED_MAX = 1000
View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def api_view(view: View, *, without_key: View | None = None) -> View:
    """Authenticate by API key and answer every refusal in OpenAI's error shape.

    A request without any key goes to `without_key`, if that is open.
    """

    @functools.wraps(view)
    async def wrapper(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            keyless = without_key is not None and "authorization" not in request.headers
            if without_key is not None and keyless and await sync_to_async(is_offered)():
                return await without_key(request)
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
    read_as(key.user)
    return key


@require_GET
@api_view
async def model_list(request: HttpRequest, key: ApiKey) -> HttpResponseBase:
    models = await sync_to_async(lambda: list(listed_models(key.user)[:LISTED_MAX]))()
    agents = await sync_to_async(lambda: list(listed_agents(key.user)[:LISTED_MAX]))()
    newest = await sync_to_async(newest_versions)(agents)
    data = [openai_format.model_object(model) for model in models]
    data += [openai_format.agent_object(agent, newest[agent.pk]) for agent in agents]
    return JsonResponse({"object": "list", "data": data})


@require_GET
@api_view
async def model_detail(request: HttpRequest, key: ApiKey, name: str) -> HttpResponseBase:
    model, agent = await sync_to_async(asked_by_name)(key.user, name)
    if agent is None:
        return JsonResponse(openai_format.model_object(model))
    newest = await sync_to_async(newest_versions)([agent])
    return JsonResponse(openai_format.agent_object(agent, newest[agent.pk]))


class NoSuchCompletion(DomainError):
    status = 404
    code = "completion_not_found"
    message = "No such completion of yours, or you had it erased."


@require_http_methods(["GET", "DELETE"])
@api_view
async def chat_completion(
    request: HttpRequest, key: ApiKey, completion_id: str
) -> HttpResponseBase:
    """One answer again, or DELETE: question and answer are erased for good."""
    inference = await sync_to_async(_own_completion)(key, completion_id)
    if request.method == "DELETE":
        await sync_to_async(erase_answer)(inference=inference, actor=key.user)
        deleted = {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}
        return JsonResponse(deleted)
    if inference.state == Inference.State.ANSWERING:
        raise AnswerUnderWay("This answer is still being written. Ask again in a moment.")
    return JsonResponse(openai_format.completion(inference, openai_stream.receipt_url(inference)))


def _own_completion(key: ApiKey, completion_id: str) -> Inference:
    try:
        public_id = openai_format.public_id_of(completion_id)
        inference = inference_for(key.user, public_id)
    except (ValueError, Http404) as unknown:
        raise NoSuchCompletion() from unknown
    if inference.erased:
        raise NoSuchCompletion()
    return inference


async def _answer_for_key(request: HttpRequest, key: ApiKey) -> HttpResponseBase:
    wanted = parse_chat_request(request.body)
    model, agent = await sync_to_async(asked_by_name)(key.user, wanted.model)
    inference, is_new = await sync_to_async(reserve_answer)(
        consumer=key.user,
        model=model,
        agent=agent,
        messages=wanted.messages,
        sampling=wanted.sampling,
        channel=Inference.Channel.API,
        key=request.headers.get("Idempotency-Key", ""),
        api_key=key,
    )
    if wanted.stream and is_new:
        return openai_stream.stream(inference, wanted.include_usage)
    if is_new:
        async for _ in stream_answer(inference):
            pass
        await inference.arefresh_from_db(fields=openai_format.ANSWER_FIELDS)
    return JsonResponse(openai_format.completion(inference, openai_stream.receipt_url(inference)))


chat_completions = require_POST(api_view(_answer_for_key, without_key=answer_for_signature))
