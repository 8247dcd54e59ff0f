"""Async and sync client of an engine process. Torch-free: this is what the site imports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from modelfactory.serving.engine import (
    ERRORS,
    EngineBusyError,
    EngineError,
    EngineUnavailableError,
    Event,
    GenerationRequest,
    Health,
    ResidentAdapter,
)

CONNECT_SECONDS = 2.0
# The longest silence: a request may wait for a place in the engine's queue before its first event.
READ_SECONDS = 130.0


def _split(address: str) -> tuple[str, str | None]:
    """(base URL, unix socket path): ``http://127.0.0.1:9000`` or ``unix:/run/engine.sock``."""
    if address.startswith("unix:"):
        return "http://engine", address.removeprefix("unix:")
    return address, None


def _raise_for(status: int, content: bytes) -> None:
    """Turn an error answer into the typed error it names."""
    if status == 200:
        return
    try:
        error = json.loads(content)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        raise EngineError(f"the engine answered {status}") from None
    if code == EngineBusyError.code:
        raise EngineBusyError(message, float(error.get("retry_after_seconds", 1)))
    raise ERRORS.get(code, EngineError)(message)


class EngineClient:
    """Talks to one engine. Every method has an async form and a ``_sync`` form.

    All raise ``EngineUnavailableError`` when the engine does not answer and the typed errors of
    ``serving.engine`` when it refuses.
    """

    def __init__(self, address: str, token: str, *, read_seconds: float = READ_SECONDS) -> None:
        self._url, self._socket = _split(address)
        self._headers = {"authorization": f"Bearer {token}"}
        self._timeout = httpx.Timeout(read_seconds, connect=CONNECT_SECONDS)

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=self._socket) if self._socket else None
        return httpx.AsyncClient(
            base_url=self._url,
            headers=self._headers,
            timeout=self._timeout,
            transport=transport,
            trust_env=False,
        )

    def _client_sync(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=self._socket) if self._socket else None
        return httpx.Client(
            base_url=self._url,
            headers=self._headers,
            timeout=self._timeout,
            transport=transport,
            trust_env=False,
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """The events of one answer as they are made. Closing the iterator cancels the request.

        A failure inside the engine is the last event's ``error_code``, with usage, not an
        exception; ``event.raise_error()`` makes it one.
        """
        try:
            async with (
                self._client() as client,
                client.stream("POST", "/generate", json=request.to_json()) as response,
            ):
                if response.status_code != 200:
                    _raise_for(response.status_code, await response.aread())
                ended = False
                async for line in response.aiter_lines():
                    event = Event.from_json(json.loads(line))
                    ended = event.finish_reason is not None
                    yield event
                _check_ended(ended)
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"the engine does not answer: {error!r}") from error

    def generate_sync(self, request: GenerationRequest) -> Iterator[Event]:
        """As ``generate``, for synchronous callers."""
        try:
            with (
                self._client_sync() as client,
                client.stream("POST", "/generate", json=request.to_json()) as response,
            ):
                if response.status_code != 200:
                    _raise_for(response.status_code, response.read())
                ended = False
                for line in response.iter_lines():
                    event = Event.from_json(json.loads(line))
                    ended = event.finish_reason is not None
                    yield event
                _check_ended(ended)
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"the engine does not answer: {error!r}") from error

    async def _call(self, method: str, path: str, document: Any = None) -> Any:
        try:
            async with self._client() as client:
                response = await client.request(method, path, json=document)
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"the engine does not answer: {error!r}") from error
        _raise_for(response.status_code, response.content)
        return response.json()

    def _call_sync(self, method: str, path: str, document: Any = None) -> Any:
        try:
            with self._client_sync() as client:
                response = client.request(method, path, json=document)
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"the engine does not answer: {error!r}") from error
        _raise_for(response.status_code, response.content)
        return response.json()

    async def ensure(self, digest: str) -> ResidentAdapter:
        """Load an adapter ahead of its first request."""
        return ResidentAdapter(**await self._call("POST", "/ensure", {"digest": digest}))

    def ensure_sync(self, digest: str) -> ResidentAdapter:
        return ResidentAdapter(**self._call_sync("POST", "/ensure", {"digest": digest}))

    async def evict(self, digest: str) -> bool:
        return bool((await self._call("POST", "/evict", {"digest": digest}))["evicted"])

    def evict_sync(self, digest: str) -> bool:
        return bool(self._call_sync("POST", "/evict", {"digest": digest})["evicted"])

    async def cancel(self, request_id: str) -> None:
        await self._call("POST", "/cancel", {"request_id": request_id})

    def cancel_sync(self, request_id: str) -> None:
        self._call_sync("POST", "/cancel", {"request_id": request_id})

    async def residency(self) -> list[ResidentAdapter]:
        found = await self._call("GET", "/residency")
        return [ResidentAdapter(**item) for item in found["adapters"]]

    def residency_sync(self) -> list[ResidentAdapter]:
        found = self._call_sync("GET", "/residency")
        return [ResidentAdapter(**item) for item in found["adapters"]]

    async def health(self) -> Health:
        return Health(**await self._call("GET", "/health"))

    def health_sync(self) -> Health:
        return Health(**self._call_sync("GET", "/health"))


def _check_ended(ended: bool) -> None:
    if not ended:
        raise EngineUnavailableError("the engine ended before the answer did")
