"""An answer as server-sent events, as OpenAI sends them."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from django.http import StreamingHttpResponse
from django.urls import reverse

from marketplace import openai_format
from marketplace.models import Inference
from marketplace.services import stream_answer
from openledger_site.core.errors import DomainError


def receipt_url(inference: Inference) -> str:
    return reverse("marketplace:receipt", args=[inference.public_id])


def stream(inference: Inference, include_usage: bool) -> StreamingHttpResponse:
    """The answer word by word; `include_usage` adds what it cost at the end."""
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
        yield _event(openai_format.usage_chunk(inference, created, receipt_url(inference)))
    yield "data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document)}\n\n"
