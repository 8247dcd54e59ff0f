"""Bodies that are too large are refused while they arrive, not after they are on disk."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Any ASGI application: its own types differ between libraries and say the same.
Application = Callable[[Any, Any, Any], Awaitable[None]]


class BodyTooLarge(Exception):
    """More bytes came than any door takes."""


def limit_body(application: Application, maximum_of: Callable[[str], int]) -> Application:
    """Wrap an ASGI application: answer 413 once a body is known to pass what `maximum_of` its path
    gives, in bytes.

    Django's ASGI handler writes a whole body to a temporary file before any view runs, so a limit
    in a view comes too late. The declared length is checked first, then the bytes that really come.
    """

    async def limited(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        maximum_bytes = maximum_of(scope["path"])
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > maximum_bytes:
            await _refuse(send, maximum_bytes)
            return
        received, answered = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > maximum_bytes:
                raise BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await application(scope, counted, noted)
        except BodyTooLarge:
            if not answered:
                await _refuse(send, maximum_bytes)

    return limited


async def _refuse(send: Send, maximum_bytes: int) -> None:
    error = {
        "code": "body_too_large",
        "message": f"This is larger than the {maximum_bytes >> 20} MB that one request may carry."
        " Split the file, or compress it.",
        "where": "body",
        "limit": maximum_bytes,
    }
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
