"""One request inside the torch engine, and the stream of events its caller reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import torch

from modelfactory.serving.adapter_cache import Lease
from modelfactory.serving.adapter_loader import LoadedAdapter
from modelfactory.serving.engine import (
    EngineError,
    Event,
    FinishReason,
    GenerationRequest,
    Timings,
    Usage,
)
from modelfactory.serving.sampling import make_generator
from modelfactory.serving.text import TextStream


class EventStream(AsyncIterator[Event]):
    """Events of one request, handed from the engine's thread to the caller's event loop.

    It holds at most ``max_tokens`` events, so a slow reader costs bounded memory and never holds up
    the step loop. Closing it, or dropping it, cancels the request.
    """

    def __init__(self, on_abandon: Callable[[], None]) -> None:
        self._ended = True  # until there is a loop to read in
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._on_abandon = on_abandon
        self._ended = False

    def put(self, event: Event) -> None:
        """Called from the engine's thread; without effect when the reader's loop is gone."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            self._on_abandon()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        if self._ended:
            raise StopAsyncIteration
        event = await self._events.get()
        self._ended = event.finish_reason is not None
        return event

    async def aclose(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_abandon()

    def __del__(self) -> None:
        if not self._ended:
            self._on_abandon()


class Sequence:
    """The state of one request; only the engine's thread touches it after it is queued."""

    def __init__(
        self, request: GenerationRequest, prompt_ids: list[int], tokenizer: Any, stream: EventStream
    ) -> None:
        self.request = request
        self.prompt_ids = prompt_ids
        self.submitted_at = time.monotonic()
        self.lease: Lease | None = None
        self.slot: int | None = None
        self.position = 0
        self.pending = list(prompt_ids)
        self.generated: list[int] = []
        self.generator: torch.Generator = make_generator(request.seed)
        self._stream = stream
        self._text = TextStream(tokenizer, request.stop, strip_start=request.messages is not None)
        self._started_at: float | None = None
        self._first_token_at: float | None = None

    @property
    def tenant(self) -> str:
        return self.request.tenant

    @property
    def adapter_digest(self) -> str | None:
        return self.request.adapter

    @property
    def ready(self) -> bool:
        """The base needs nothing; an adapter has to be in memory."""
        return self.adapter_digest is None or (self.lease is not None and self.lease.future.done())

    @property
    def adapter(self) -> LoadedAdapter | None:
        """The loaded adapter. Raises the adapter error when loading failed."""
        return None if self.lease is None else self.lease.future.result()

    def start(self, slot: int) -> None:
        self.slot = slot
        self._started_at = time.monotonic()
        self._stream.put(Event(self.request.request_id, prompt_ids=tuple(self.prompt_ids)))

    def emit(self, token_id: int) -> bool:
        """Meter and send one token; True when it completed a stop string."""
        self._first_token_at = self._first_token_at or time.monotonic()
        self.generated.append(token_id)
        self.pending = [token_id]
        delta = self._text.add(token_id)
        self._stream.put(Event(self.request.request_id, (token_id,), delta))
        return self._text.stopped

    def end(self, reason: FinishReason, error: EngineError | None = None) -> None:
        """Send the last event; usage is in it whatever the reason."""
        now, since = time.monotonic(), self.submitted_at
        first = self._first_token_at
        self._stream.put(
            Event(
                self.request.request_id,
                text_delta=self._text.finish() if error is None else "",
                finish_reason=reason,
                usage=Usage(len(self.prompt_ids) if self._started_at else 0, len(self.generated)),
                timings=Timings(
                    (self._started_at or now) - since,
                    None if first is None else first - since,
                    now - since,
                ),
                error_code=None if error is None else error.code,
                error_message=None if error is None else str(error),
            )
        )
