"""POST /v1/chat/completions in the OpenAPI document: no DRF view, so it is described here."""

from __future__ import annotations

from typing import Any

from marketplace.forms import KNOWN, ROLES
from marketplace.services.reserve_answer import MAX_TOKENS_LIMIT

_TYPES: dict[str, dict[str, Any]] = {
    "model": {
        "type": "string",
        "description": "A model's slug, or agent/slug; @digest12 after it pins what answers.",
    },
    "messages": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"type": "string", "enum": list(ROLES)},
                "content": {"type": "string"},
            },
        },
    },
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": MAX_TOKENS_LIMIT},
    "max_completion_tokens": {"type": "integer", "minimum": 1, "maximum": MAX_TOKENS_LIMIT},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0.01, "maximum": 1},
    "seed": {"type": "integer"},
    "stop": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "stream": {"type": "boolean"},
    "n": {"type": "integer", "enum": [1]},
    "user": {"type": "string"},
    "store": {"type": "boolean"},
}


def _header(words: str) -> dict[str, Any]:
    return {"description": words, "schema": {"type": "string"}}


def _sent(name: str, words: str) -> dict[str, Any]:
    return {"in": "header", "name": name, "required": False} | _header(words)


def _about_one(operation: str, words: str, gone: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "tags": ["v1"],
        "description": words,
        "security": [{"bearerKey": []}],
        "parameters": [
            {"in": "path", "name": "completion_id", "required": True, "schema": {"type": "string"}}
        ],
        "responses": {
            "200": {"description": "Done."},
            "401": {"description": "The key is wrong."},
            "404": {"description": gone},
            "409": {"description": "The answer is under way, or an audit is reading it."},
        },
    }


def add_chat_completions(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A drf-spectacular hook: adds the operation to the finished document."""
    body = {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {name: _TYPES.get(name, {"type": "object"}) for name in sorted(KNOWN)},
        "additionalProperties": False,
    }
    settled = {"PAYMENT-RESPONSE": _header("base64 of the x402 SettlementResponse.")}
    result["paths"]["/v1/chat/completions"] = {
        "post": {
            "operationId": "v1_chat_completions",
            "tags": ["v1"],
            "description": "Ask a model, as OpenAI's API. With an API key the account pays; without"
            " one, a signature in PAYMENT-SIGNATURE does (x402 version 2, scheme exact).",
            "security": [{"bearerKey": []}, {}],
            "parameters": [
                _sent("Idempotency-Key", "The same key gets the first answer again."),
                _sent("PAYMENT-SIGNATURE", "base64 of an x402 PaymentPayload; needs no API key."),
            ],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {
                    "description": "A chat completion, or server-sent events with stream=true.",
                    "headers": settled | {"OpenLedger-Receipt": _header("Where its receipt is.")},
                },
                "400": {"description": "The body or the payment is not in the form."},
                "401": {"description": "The key is wrong, or there is none and x402 is off."},
                "402": {
                    "description": "What must be paid, or why a payment was refused.",
                    "headers": settled
                    | {"PAYMENT-REQUIRED": _header("base64 of the x402 PaymentRequired.")},
                },
                "404": {"description": "No such model."},
                "409": {"description": "The first request with this key or signature goes on."},
                "429": {"description": "Too many requests or payments within a minute."},
                "503": {"description": "Engine away, or payment not final: send the same again."},
            },
        }
    }
    gone = "No such completion of the key's owner, or it was erased."
    result["paths"]["/v1/chat/completions/{completion_id}"] = {
        "get": _about_one("v1_chat_completion", "The answer again.", gone),
        "delete": _about_one(
            "v1_chat_completion_erase",
            "Erase question and answer for good; what was paid, and to whom, stays.",
            gone,
        ),
    }
    schemes = result.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["bearerKey"] = {"type": "http", "scheme": "bearer"}
    return result
