"""The engine behind a real socket: uvicorn in a thread, the real client against it."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest
import uvicorn

from modelfactory.serving.__main__ import bind, spoken_address
from modelfactory.serving.client import EngineClient
from modelfactory.serving.engine import (
    AdapterMissingError,
    AdapterPinnedError,
    EngineBusyError,
    EngineError,
    EngineUnavailableError,
    InvalidRequestError,
)
from modelfactory.serving.server import EngineServer
from modelfactory.tests.serving.conftest import ask, collect, text_of, tokens_of
from modelfactory.tests.serving.test_torch_engine import is_idle, until

TOKEN = "a token"


@pytest.fixture
def serve(make_engine):
    """Serve an engine at an address; returns the address clients use."""
    running = []

    def start(engine, address: str = "127.0.0.1:0") -> str:
        listener = bind(address)
        config = uvicorn.Config(EngineServer(engine, TOKEN), lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, listener))
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return spoken_address(listener)

    yield start
    for server, thread, listener in running:
        server.should_exit = True
        thread.join()
        listener.close()


async def test_events_come_over_the_wire_as_the_engine_makes_them(make_engine, serve, adapters):
    engine = make_engine()
    direct = await collect(engine.submit(ask("direct", adapter=adapters[0], max_tokens=8)))
    client = EngineClient(serve(engine), TOKEN)
    events = await collect(client.generate(ask("wire", adapter=adapters[0], max_tokens=8)))
    assert (tokens_of(events), text_of(events)) == (tokens_of(direct), text_of(direct))
    assert (events[0].prompt_ids, events[-1].usage) == ((5, 6, 7), direct[-1].usage)


async def test_a_unix_socket_works_too_and_is_private(make_engine, serve, tmp_path):
    address = serve(make_engine(), f"unix:{tmp_path}/engine.sock")
    assert (await EngineClient(address, TOKEN).health()).status == "ok"
    assert (tmp_path / "engine.sock").stat().st_mode & 0o777 == 0o600


async def test_the_sync_client_says_the_same(make_engine, serve, adapters):
    client = EngineClient(serve(make_engine()), TOKEN)
    request = ask("r", max_tokens=4)
    events = await asyncio.to_thread(lambda: list(client.generate_sync(request)))
    again = await collect(client.generate(request))
    assert tokens_of(events) == tokens_of(again)
    assert (await asyncio.to_thread(client.ensure_sync, adapters[0])).digest == adapters[0]
    assert await asyncio.to_thread(client.residency_sync) == await client.residency()


async def test_a_client_that_goes_away_cancels_its_request(make_engine, serve):
    engine = make_engine()
    stream = EngineClient(serve(engine), TOKEN).generate(ask("r", [5], max_tokens=120))
    await anext(stream)
    await stream.aclose()
    await until(lambda: is_idle(engine))


async def test_a_wrong_token_opens_nothing(make_engine, serve):
    client = EngineClient(serve(make_engine()), "another token")
    with pytest.raises(EngineError, match="token"):
        await client.health()
    with pytest.raises(EngineError, match="token"):
        await collect(client.generate(ask("r")))


async def test_refusals_are_typed(make_engine, serve, adapters):
    engine = make_engine()
    client = EngineClient(serve(engine), TOKEN)
    with pytest.raises(AdapterMissingError):
        await client.ensure("0" * 64)
    with pytest.raises(InvalidRequestError, match="context"):
        await collect(client.generate(ask("r", [5] * 200)))
    stream = engine.submit(ask("held", adapter=adapters[0], max_tokens=120))
    await anext(stream)
    with pytest.raises(AdapterPinnedError):
        await client.evict(adapters[0])


async def test_a_busy_engine_says_when_to_come_back(make_engine, serve):
    engine = make_engine(slots=1, waiting_requests=0)
    with pytest.raises(EngineBusyError) as refusal:
        await collect(EngineClient(serve(engine), TOKEN).generate(ask("r")))
    assert refusal.value.retry_after_seconds == 1.0


async def test_no_engine_is_unavailable(serve, make_engine):
    listener = bind("127.0.0.1:0")
    client = EngineClient(spoken_address(listener), TOKEN)
    listener.close()
    with pytest.raises(EngineUnavailableError):
        await client.health()
    with pytest.raises(EngineUnavailableError):
        await collect(client.generate(ask("r")))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[" * 100_000, 422),
        (b"{}", 422),
        (b'{"request_id": "r", "prompt_ids": ["x"]}', 422),
        (b'{"request_id": "r", "prompt_ids": [1], "temperature": NaN}', 422),
        (b'{"request_id": "r", "prompt_ids": [1], "adapter": "../../x"}', 404),
        (b'{"request_id": "r", "prompt_ids": [1], "surprise": 1}', 422),
        (b" " * 1_000_001, 422),
    ],
)
async def test_a_bad_body_is_refused_in_words(make_engine, serve, body, status):
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=serve(make_engine()), headers=headers) as client:
        answer = await client.post("/generate", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_the_interface_listens_only_on_this_machine():
    with pytest.raises(ValueError, match="loopback"):
        bind("0.0.0.0:0")
