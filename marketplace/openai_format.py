"""Shapes of the OpenAI API, and nothing else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import JsonResponse

from marketplace.models import COMPLETION_PREFIX, Agent, AgentVersion, Inference
from modelfactory.models import Model
from modelfactory.protection import protection_object
from openledger_site.core.errors import DomainError

ANSWER_FIELDS = [
    "state",
    "answer",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "fee_wei",
    "passages",
]
ERROR_TYPES = {401: "authentication_error", 402: "insufficient_quota", 403: "permission_error"}
# OpenAI's words for how an answer ended.
FINISH_REASONS = {"stop": "stop", "length": "length"}


def resolved_name(model: Model) -> str:
    """The immutable id: the weights are part of it."""
    return f"{model.slug}@{model.adapter_digest[:12]}"


def resolved_name_of(inference: Inference) -> str:
    """What was asked, pinned to what it answered with."""
    version = inference.agent_version
    if version is None:
        return resolved_name(inference.model)
    return f"{version.agent.api_name}@{version.digest[:12]}"


def agent_object(agent: Agent, version: AgentVersion) -> dict[str, Any]:
    """`version` is its newest; `pinned` names it, for programs that want no other price."""
    return {
        "id": agent.api_name,
        "object": "model",
        "created": int(agent.created_at.timestamp()),
        "owned_by": agent.owner.name,
        "root": resolved_name(agent.model),
        "parent": agent.model.slug,
        "pinned": f"{agent.api_name}@{version.digest[:12]}",
        "pricing": _pricing(agent.model, version.maker_ppm),
        "row_protection": protection_object(agent.model.run),
    }


def model_object(model: Model) -> dict[str, Any]:
    return {
        "id": model.slug,
        "object": "model",
        "created": int(model.published_at.timestamp()),
        "owned_by": model.owner.name,
        "root": resolved_name(model),
        "parent": model.base.slug,
        "pricing": _pricing(model, 0),
        "row_protection": protection_object(model.run),
    }


def _pricing(model: Model, maker_ppm: int) -> dict[str, Any]:
    """Beyond OpenAI's shape: wei of OPEN as text, and what an agent's maker asks of them on top."""
    return {
        "prompt_wei_per_1000": str(model.price_prompt_wei),
        "completion_wei_per_1000": str(model.price_completion_wei),
        "answer_wei": str(model.platform_fee_wei),
        "maker_ppm": maker_ppm,
    }


def public_id_of(completion_id: str) -> UUID:
    """The answer that a completion's id names. Raises `ValueError` for what is none."""
    prefix, _, digits = completion_id.partition("-")
    if prefix != COMPLETION_PREFIX or len(digits) != 32:
        raise ValueError("no id of a completion")
    return UUID(hex=digits)


def completion(inference: Inference, receipt_url: str) -> dict[str, Any]:
    return {
        "id": inference.completion_id,
        "object": "chat.completion",
        "created": int(inference.created_at.timestamp()),
        "model": resolved_name_of(inference),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": inference.answer, "refusal": None},
                "finish_reason": FINISH_REASONS.get(inference.finish_reason, "stop"),
                "logprobs": None,
            }
        ],
        "usage": usage(inference),
        "openledger": extras(inference, receipt_url),
    }


def usage(inference: Inference) -> dict[str, int]:
    return {
        "prompt_tokens": inference.prompt_tokens,
        "completion_tokens": inference.completion_tokens,
        "total_tokens": inference.prompt_tokens + inference.completion_tokens,
    }


def extras(inference: Inference, receipt_url: str) -> dict[str, Any]:
    """What only we can say: what it cost, and where the receipt will be."""
    return {
        "inference": str(inference.public_id),
        "fee_wei": str(inference.fee_wei),
        "receipt_url": receipt_url,
    }


def chunk(
    inference: Inference,
    created: int,
    include_usage: bool,
    delta: dict[str, str],
    finish_reason: str | None = None,
) -> dict[str, Any]:
    reason = FINISH_REASONS.get(finish_reason, "stop") if finish_reason else None
    document: dict[str, Any] = {
        "id": inference.completion_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": resolved_name_of(inference),
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}],
    }
    return document | ({"usage": None} if include_usage else {})


def usage_chunk(inference: Inference, created: int, receipt_url: str) -> dict[str, Any]:
    last = chunk(inference, created, True, {})
    return last | {
        "choices": [],
        "usage": usage(inference),
        "openledger": extras(inference, receipt_url),
    }


def error_body(refusal: DomainError) -> dict[str, Any]:
    return {
        "error": {
            "message": refusal.message,
            "type": ERROR_TYPES.get(refusal.status, "invalid_request_error"),
            "param": refusal.where or None,
            "code": refusal.code,
        }
    }


def error_response(refusal: DomainError, status: int) -> JsonResponse:
    response = JsonResponse(error_body(refusal), status=status)
    if status in (429, 503):
        response["Retry-After"] = "60" if status == 429 else "5"
    if status in (402, 409):
        response["x-should-retry"] = "false"  # asking again cannot help: the client stops here
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response
