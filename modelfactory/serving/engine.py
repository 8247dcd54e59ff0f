"""What every engine speaks: requests in, events out, adapters named by digest, typed errors.

Torch-free. An adapter is always its sha256 digest (64 hex digits), never a name or a path, so that
one tenant's request cannot run on another's weights because of a reused name.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

DIGEST = re.compile(r"[0-9a-f]{64}")
FinishReason = Literal["stop", "length", "cancelled", "error"]
MAXIMUM_STOP_STRINGS = 8
MAXIMUM_STOP_CHARACTERS = 200


class EngineError(Exception):
    """Anything an engine refuses or fails at; ``code`` is stable, the message is for people."""

    code = "engine_error"


class EngineUnavailableError(EngineError):
    """The engine process does not answer."""

    code = "engine_unavailable"


class AdapterMissingError(EngineError):
    """No adapter folder has this digest."""

    code = "adapter_missing"


class AdapterInvalidError(EngineError):
    """The adapter's files are damaged, unsafe, unsupported or made for another base."""

    code = "adapter_invalid"


class AdapterPinnedError(EngineError):
    """The adapter is in use and cannot be evicted now."""

    code = "adapter_pinned"


class InvalidRequestError(EngineError):
    """The request cannot be served as it is, for example because the prompt is too long."""

    code = "invalid_request"


class EngineBusyError(EngineError):
    """The queue is full; try again after ``retry_after_seconds``."""

    code = "engine_busy"

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


ERRORS: dict[str, type[EngineError]] = {
    kind.code: kind
    for kind in (
        EngineError,
        EngineUnavailableError,
        AdapterMissingError,
        AdapterInvalidError,
        AdapterPinnedError,
        InvalidRequestError,
        EngineBusyError,
    )
}


def check_digest(digest: str) -> str:
    """Returns ``digest``; raises ``AdapterMissingError`` when it is not 64 hex digits."""
    if not DIGEST.fullmatch(digest):
        raise AdapterMissingError("an adapter is named by the 64 hex digits of its digest")
    return digest


@dataclass(frozen=True)
class GenerationRequest:
    """One answer to make. Exactly one of ``messages`` and ``prompt_ids`` is given.

    ``temperature`` 0 is greedy; ``seed`` makes sampling repeatable for the same batch shape.
    Raises ``InvalidRequestError`` for values out of range.
    """

    request_id: str
    adapter: str | None = None
    messages: tuple[Mapping[str, str], ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tenant: str = ""

    def __post_init__(self) -> None:
        if (self.messages is None) == (self.prompt_ids is None):
            raise InvalidRequestError("give either messages or prompt_ids")
        if not self.request_id or self.max_tokens < 1:
            raise InvalidRequestError("a request needs an id and at least one token to make")
        if not (0 <= self.temperature <= 5 and 0 < self.top_p <= 1):
            raise InvalidRequestError("temperature is 0 to 5 and top_p above 0 up to 1")
        if len(self.stop) > MAXIMUM_STOP_STRINGS or not all(
            0 < len(text) <= MAXIMUM_STOP_CHARACTERS for text in self.stop
        ):
            raise InvalidRequestError("at most 8 stop strings of 1 to 200 characters")
        if self.adapter is not None:
            check_digest(self.adapter)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> GenerationRequest:
        """Raises ``InvalidRequestError`` for unknown fields and wrong types."""
        try:
            values = _typed(document)
            return cls(**values)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InvalidRequestError(f"malformed request: {error}") from error


def _typed(document: Any) -> dict[str, Any]:
    values = dict(document)
    for name, kinds in {
        "request_id": (str,),
        "adapter": (str, type(None)),
        "max_tokens": (int,),
        "temperature": (int, float),
        "top_p": (int, float),
        "seed": (int, type(None)),
        "tenant": (str,),
    }.items():
        if name in values and (type(values[name]) not in kinds):
            raise TypeError(f"{name} has the wrong type")
        if isinstance(values.get(name), float) and not math.isfinite(values[name]):
            raise ValueError(f"{name} is not finite")
    if values.get("prompt_ids") is not None:
        values["prompt_ids"] = tuple(values["prompt_ids"])
        if not all(type(token) is int for token in values["prompt_ids"]):
            raise TypeError("prompt_ids are integers")
    if values.get("messages") is not None:
        values["messages"] = tuple(
            {"role": str(item["role"]), "content": str(item["content"])}
            for item in values["messages"]
        )
    values["stop"] = tuple(str(text) for text in values.get("stop", ()))
    return values


@dataclass(frozen=True)
class Usage:
    """Tokens metered by the engine: the rendered prompt, and every token it emitted."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Timings:
    """Seconds since the request was submitted."""

    queued_seconds: float
    first_token_seconds: float | None
    total_seconds: float


@dataclass(frozen=True)
class Event:
    """A step of one answer.

    The first event carries ``prompt_ids``, what the model really read. The last one, and only
    that, carries ``finish_reason``, ``usage`` and ``timings``; it comes also after a cancel or an
    error, so that usage is always metered.
    """

    request_id: str
    token_ids: tuple[int, ...] = ()
    text_delta: str = ""
    prompt_ids: tuple[int, ...] | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    error_code: str | None = None
    error_message: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, "", ())}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Event:
        values = dict(document)
        values["token_ids"] = tuple(values.get("token_ids", ()))
        if "prompt_ids" in values:
            values["prompt_ids"] = tuple(values["prompt_ids"])
        if "usage" in values:
            values["usage"] = Usage(**values["usage"])
        if "timings" in values:
            values["timings"] = Timings(**values["timings"])
        return cls(**values)

    def raise_error(self) -> None:
        """Raise the typed error that this event reports, if it reports one."""
        if self.error_code is not None:
            raise ERRORS.get(self.error_code, EngineError)(self.error_message or self.error_code)


@dataclass(frozen=True)
class ResidentAdapter:
    """An adapter in memory; ``pins`` counts the requests that hold it there."""

    digest: str
    size_bytes: int
    rank: int
    pins: int
    hits: int
    load_seconds: float


@dataclass(frozen=True)
class Health:
    """State of an engine; ``status`` is ``ok`` or ``stopped``."""

    status: str
    engine: str
    base_digest: str
    context_tokens: int
    running: int
    waiting: int
    free_slots: int
    completed: int
    prompt_tokens: int
    completion_tokens: int
    details: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """One base model and its adapters. All engines pass the same contract tests."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Queue ``request`` at once and return its events; closing the iterator cancels.

        Raises ``EngineBusyError`` when the queue is full and ``InvalidRequestError`` when the
        request can never be served; problems found later arrive in the last event.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """Stop a request, free all it holds and send its last event; unknown ids are ignored."""
        ...

    async def ensure(self, digest: str) -> ResidentAdapter:
        """Load an adapter ahead of its first request. Raises the adapter errors."""
        ...

    def evict(self, digest: str) -> bool:
        """Drop an adapter from memory; False when it was not there.

        Raises ``AdapterPinnedError`` while a request uses it.
        """
        ...

    def residency(self) -> list[ResidentAdapter]:
        """The adapters in memory, least recently used first."""
        ...

    def health(self) -> Health: ...
