"""The engine process's internal HTTP interface: plain ASGI over a loopback or unix socket.

=====================  ==========================================================================
``POST /generate``     a ``GenerationRequest``; answers NDJSON, one ``Event`` a line. Closing the
                       connection cancels the request
``POST /cancel``       ``{"request_id"}``
``POST /ensure``       ``{"digest"}``; loads an adapter ahead of its first request
``POST /evict``        ``{"digest"}``
``GET /residency``     the adapters in memory
``GET /health``        counters, and the digest of the base
=====================  ==========================================================================

Every request carries ``Authorization: Bearer ENGINE_TOKEN``. Adapters are named by digest only; no
path and no address is ever taken from a request.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from modelfactory.serving.engine import (
    AdapterInvalidError,
    AdapterMissingError,
    AdapterPinnedError,
    Engine,
    EngineBusyError,
    EngineError,
    Event,
    GenerationRequest,
    InvalidRequestError,
)

MAXIMUM_BODY_BYTES = 1_000_000

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_STATUSES: dict[type[EngineError], int] = {
    AdapterMissingError: 404,
    AdapterPinnedError: 409,
    AdapterInvalidError: 422,
    InvalidRequestError: 422,
    EngineBusyError: 503,
}


class EngineServer:
    """An ASGI application around one engine."""

    def __init__(self, engine: Engine, token: str) -> None:
        if not token:
            raise ValueError("an engine server needs a token")
        self._engine = engine
        self._expected = f"Bearer {token}".encode()
        self._routes = {
            ("POST", "/generate"): self._generate,
            ("POST", "/cancel"): self._cancel,
            ("POST", "/ensure"): self._ensure,
            ("POST", "/evict"): self._evict,
            ("GET", "/residency"): self._residency,
            ("GET", "/health"): self._health,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served here")
        given = dict(scope["headers"]).get(b"authorization", b"")
        route = self._routes.get((scope["method"], scope["path"]))
        if not hmac.compare_digest(given, self._expected):
            await _answer(send, 401, _error("unauthorized", "the engine token is missing or wrong"))
        elif route is None:
            await _answer(send, 404, _error("not_found", "there is no such place"))
        else:
            try:
                await route(receive, send)
            except EngineError as error:
                await _answer_error(send, error)

    async def _generate(self, receive: Receive, send: Send) -> None:
        stream = self._engine.submit(GenerationRequest.from_json(await _body(receive)))
        await _start(send, 200, b"application/x-ndjson")
        gone = asyncio.create_task(_disconnected(receive))
        writing = asyncio.create_task(_write(stream, send))
        try:
            await asyncio.wait({gone, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, writing):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await _close(stream)

    async def _cancel(self, receive: Receive, send: Send) -> None:
        self._engine.cancel(_text(await _body(receive), "request_id"))
        await _answer(send, 200, {})

    async def _ensure(self, receive: Receive, send: Send) -> None:
        adapter = await self._engine.ensure(_text(await _body(receive), "digest"))
        await _answer(send, 200, asdict(adapter))

    async def _evict(self, receive: Receive, send: Send) -> None:
        evicted = self._engine.evict(_text(await _body(receive), "digest"))
        await _answer(send, 200, {"evicted": evicted})

    async def _residency(self, receive: Receive, send: Send) -> None:
        await _answer(send, 200, {"adapters": [asdict(item) for item in self._engine.residency()]})

    async def _health(self, receive: Receive, send: Send) -> None:
        health = self._engine.health()
        await _answer(send, 200 if health.status == "ok" else 503, asdict(health))


async def _write(stream: AsyncIterator[Event], send: Send) -> None:
    async for event in stream:
        await _chunk(send, json.dumps(event.to_json()).encode() + b"\n", more=True)
    await _chunk(send, b"", more=False)


async def _close(stream: AsyncIterator[Event]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> Any:
    content, more = b"", True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
        if len(content) > MAXIMUM_BODY_BYTES:
            raise InvalidRequestError(f"the body is larger than {MAXIMUM_BODY_BYTES} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("the body is not JSON") from error


def _text(document: Any, name: str) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is missing")
    return value


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


async def _answer_error(send: Send, error: EngineError) -> None:
    status = _STATUSES.get(type(error), 500)
    body = _error(error.code, str(error))
    headers = []
    if isinstance(error, EngineBusyError):
        body["error"]["retry_after_seconds"] = error.retry_after_seconds
        headers = [(b"retry-after", str(math.ceil(error.retry_after_seconds)).encode())]
    await _answer(send, status, body, headers)


async def _answer(
    send: Send, status: int, body: Any, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    await _start(send, status, b"application/json", headers)
    await _chunk(send, json.dumps(body).encode(), more=False)


async def _start(
    send: Send,
    status: int,
    content_type: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    sent = [(b"content-type", content_type), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": sent})


async def _chunk(send: Send, content: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})
