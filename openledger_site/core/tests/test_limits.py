"""A body that is too large is refused while it arrives."""

from __future__ import annotations

import json

import pytest

from openledger_site.core.limits import limit_body

LIMIT = 2 << 20


async def echo_length(scope, receive, send):
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


async def ask(chunks, declared=None):
    """Send chunks; return (status, body, how many chunks were read)."""
    waiting, sent = list(chunks), []

    async def receive():
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    headers = [(b"content-length", str(declared).encode())] if declared is not None else []
    scope = {"type": "http", "headers": headers, "path": "/"}
    await limit_body(echo_length, lambda path: LIMIT)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"], len(chunks) - len(waiting)


async def test_a_body_within_the_limit_passes():
    assert await ask([b"x" * LIMIT]) == (200, str(LIMIT).encode(), 1)


async def test_a_declared_length_above_it_is_refused_unread():
    status, body, read = await ask([b"x"], declared=LIMIT + 1)
    assert (status, read, json.loads(body)["error"]["limit"]) == (413, 0, LIMIT)


async def test_a_body_that_lies_about_its_length_is_refused_as_it_comes():
    status, _, read = await ask([b"x" * (1 << 20)] * 10, declared=5)
    assert (status, read) == (413, 3)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_connections_are_left_alone(kind):
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])

    await limit_body(application, LIMIT)({"type": kind}, None, None)
    assert seen == [kind]
