"""Our engine: continuous batching over mixed adapters on one base model, in fp32 on the CPU.

One thread owns the model and runs steps. A step admits what the scheduler chooses, reads a chunk of
the prompts that are not read yet, and makes one token for every other running request, whatever
adapter each uses. Requests join and leave between steps.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelfactory.serving.adapter_cache import AdapterCache
from modelfactory.serving.adapter_loader import LoadedAdapter
from modelfactory.serving.engine import (
    EngineBusyError,
    EngineError,
    FinishReason,
    GenerationRequest,
    Health,
    InvalidRequestError,
    ResidentAdapter,
)
from modelfactory.serving.multi_lora import MultiLoRA
from modelfactory.serving.sampling import next_token
from modelfactory.serving.scheduler import Limits, choose
from modelfactory.serving.sequence import EventStream, Sequence
from modelfactory.serving.slot_cache import SlotCache
from modelfactory.training.chat import end_ids, prompt_ids

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineSettings:
    """Limits of one engine process."""

    slots: int = 16
    adapters_per_step: int = 8
    context_tokens: int = 2048
    prefill_chunk_tokens: int = 64
    prefill_step_tokens: int = 256
    waiting_requests: int = 256
    waiting_seconds: float = 120.0
    adapter_budget_bytes: int = 256 * 1024 * 1024


def context_limit(config: Any, wanted_tokens: int) -> int:
    """How many tokens fit: never more than the base was built for.

    A sliding window also limits it, because within the window full attention is the same thing.
    """
    names = ("max_position_embeddings", "n_positions", "sliding_window")
    known = [getattr(config, name, None) for name in names]
    return min([wanted_tokens, *(value for value in known if isinstance(value, int) and value > 0)])


class TorchEngine:
    """``engine.Engine`` over a Hugging Face causal LM. ``close`` it to end its thread."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        base_digest: str,
        adapters_root: Path,
        settings: EngineSettings | None = None,
    ) -> None:
        self._settings = settings or EngineSettings()
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        # Encoding and decoding happen in different threads; a fast tokenizer may not be shared.
        self._decoder = copy.deepcopy(tokenizer)
        self._base_digest = base_digest
        self._end_ids = frozenset(end_ids(tokenizer))
        self._context_tokens = context_limit(model.config, self._settings.context_tokens)
        self._limits = Limits(self._settings.slots, self._settings.adapters_per_step)
        self._lora = MultiLoRA(self._model)
        self._adapters = AdapterCache(
            adapters_root, self._lora.shapes, self._settings.adapter_budget_bytes
        )
        self._cache = SlotCache(self._settings.slots, self._context_tokens)
        self._free_slots = list(range(self._settings.slots))[::-1]
        self._running: list[Sequence] = []
        self._waiting: list[Sequence] = []
        self._condition = threading.Condition()
        # Shared with callers, under the condition:
        self._inbox: deque[Sequence] = deque()
        self._cancelled: set[str] = set()
        self._known: set[str] = set()
        self._awake = False
        self._stopping = False
        self._completed = self._prompt_tokens = self._completion_tokens = 0
        self._thread = threading.Thread(target=self._run, name="engine-steps", daemon=True)
        self._thread.start()

    # -- called from any thread

    def submit(self, request: GenerationRequest) -> EventStream:
        """See ``Engine.submit``; must be called inside a running event loop."""
        ids = self._prompt(request)
        with self._condition:
            if self._stopping:
                raise EngineBusyError("the engine is stopping")
            if request.request_id in self._known:
                raise InvalidRequestError("this request id is already in use")
            if len(self._inbox) + len(self._waiting) >= self._settings.waiting_requests:
                raise EngineBusyError("too many requests are waiting")
            stream = EventStream(lambda: self.cancel(request.request_id))
            self._known.add(request.request_id)
            self._inbox.append(Sequence(request, ids, self._decoder, stream))
        self._wake()
        return stream

    def cancel(self, request_id: str) -> None:
        with self._condition:
            if request_id not in self._known:
                return
            self._cancelled.add(request_id)
        self._wake()

    async def ensure(self, digest: str) -> ResidentAdapter:
        lease = self._adapters.lease(digest)
        if lease is None:
            raise EngineBusyError("all adapters in memory are in use")
        try:
            await asyncio.wrap_future(lease.future)
            return next(item for item in self.residency() if item.digest == digest)
        finally:
            lease.release()
            self._wake()

    def evict(self, digest: str) -> bool:
        evicted = self._adapters.evict(digest)
        self._wake()
        return evicted

    def residency(self) -> list[ResidentAdapter]:
        return self._adapters.residency()

    def health(self) -> Health:
        return Health(
            status="ok" if self._thread.is_alive() else "stopped",
            engine="torch",
            base_digest=self._base_digest,
            context_tokens=self._context_tokens,
            running=len(self._running),
            waiting=len(self._waiting) + len(self._inbox),
            free_slots=len(self._free_slots),
            completed=self._completed,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            details={
                "adapters_resident": len(self.residency()),
                "adapter_bytes": self._adapters.used_bytes,
                "adapter_misses": self._adapters.misses,
                "cache_bytes": self._cache.size_bytes,
                "torch_threads": torch.get_num_threads(),
            },
        )

    def close(self) -> None:
        """Cancel everything and stop the thread; running requests get their last event."""
        with self._condition:
            self._stopping = True
        self._wake()
        self._thread.join()
        self._adapters.close()
        self._lora.close()

    def _prompt(self, request: GenerationRequest) -> list[int]:
        if request.prompt_ids is not None:
            ids = list(request.prompt_ids)
        else:
            ids = prompt_ids(self._tokenizer, request.messages or ())
        vocabulary = self._model.get_input_embeddings().num_embeddings
        if not ids or not all(0 <= token < vocabulary for token in ids):
            raise InvalidRequestError("the prompt is empty or has unknown token ids")
        if len(ids) >= self._context_tokens:
            raise InvalidRequestError(
                f"the prompt has {len(ids)} tokens; the context is {self._context_tokens}"
            )
        return ids

    def _wake(self, _: Future[LoadedAdapter] | None = None) -> None:
        with self._condition:
            self._awake = True
            self._condition.notify()

    # -- the step loop, in its own thread

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._stopping:
                self._guarded(self._collect)
                self._guarded(self._admit)
                self._guarded(self._step)
            for sequence in [*self._running, *self._waiting, *self._inbox]:
                self._finish(sequence, "cancelled")

    def _guarded(self, part: Callable[[], None]) -> None:
        """A failing step fails the requests that ran in it; the engine goes on."""
        try:
            part()
        except Exception:
            logger.exception("a step failed; its requests end with an error")
            for sequence in list(self._running):
                self._finish(sequence, "error", EngineError("the engine failed at this step"))

    def _collect(self) -> None:
        """Take what callers left; sleep while there is nothing to do."""
        with self._condition:
            timeout = self._settings.waiting_seconds if self._waiting else None
            while not (self._awake or self._running):
                if not self._condition.wait(timeout):
                    break
            self._awake = False
            self._waiting.extend(self._inbox)
            self._inbox.clear()
            cancelled, self._cancelled = self._cancelled, set()
        for sequence in [*self._waiting, *self._running]:
            if sequence.request.request_id in cancelled:
                self._finish(sequence, "cancelled")

    def _admit(self) -> None:
        now, ready = time.monotonic(), []
        for sequence in list(self._waiting):
            try:
                self._lease(sequence)
                if now - sequence.submitted_at > self._settings.waiting_seconds:
                    raise EngineBusyError("waited too long for a place")
                if sequence.ready:
                    _ = sequence.adapter  # raises what went wrong while reading it
                    ready.append(sequence)
            except EngineError as error:
                self._finish(sequence, "error", error)
        for sequence in choose(ready, self._running, self._limits, now):
            self._waiting.remove(sequence)
            self._running.append(sequence)
            sequence.start(self._free_slots.pop())

    def _lease(self, sequence: Sequence) -> None:
        """Start to read the adapter as soon as a request waits for it, if there is room."""
        if sequence.adapter_digest is None or sequence.lease is not None:
            return
        sequence.lease = self._adapters.lease(sequence.adapter_digest)
        if sequence.lease is not None:
            sequence.lease.future.add_done_callback(self._wake)

    def _step(self) -> None:
        if not self._running:
            return
        adapters = {item.digest: item for item in map(_adapter, self._running) if item is not None}
        self._lora.activate(adapters)
        reading: list[Sequence] = []
        budget = self._settings.prefill_step_tokens
        for sequence in self._running:
            chunk = min(len(sequence.pending), self._settings.prefill_chunk_tokens)
            if not sequence.generated and (budget >= chunk or not reading):
                reading.append(sequence)
                budget -= chunk
        speaking = [sequence for sequence in self._running if sequence.generated]
        for group in (reading, speaking):
            if group:
                self._advance(group)

    def _advance(self, group: list[Sequence]) -> None:
        limit = self._settings.prefill_chunk_tokens
        chunks = [sequence.pending[:limit] for sequence in group]
        logits = self._forward(group, chunks)
        for sequence, chunk, row in zip(group, chunks, logits, strict=True):
            sequence.position += len(chunk)
            sequence.pending = sequence.pending[len(chunk) :]
            if not sequence.pending:
                self._speak(sequence, row)

    def _forward(self, group: list[Sequence], chunks: list[list[int]]) -> Tensor:
        """Logits [rows, vocabulary] after the last token of each chunk."""
        slots = [sequence.slot for sequence in group if sequence.slot is not None]
        starts = [sequence.position for sequence in group]
        batch = self._cache.prepare(slots, starts, chunks, self._model.dtype)
        self._lora.rows([sequence.adapter_digest for sequence in group])
        output = self._model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            attention_mask=batch.attention_mask,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=batch.last,
        )
        logits: Tensor = output.logits[:, 0].float()
        return logits

    def _speak(self, sequence: Sequence, logits: Tensor) -> None:
        request = sequence.request
        token = next_token(
            logits,
            temperature=request.temperature,
            top_p=request.top_p,
            generator=sequence.generator,
        )
        if token is None:
            self._finish(sequence, "error", EngineError("the model's output is not finite"))
        elif token in self._end_ids or sequence.emit(token):
            self._finish(sequence, "stop")
        elif (
            len(sequence.generated) >= request.max_tokens
            or sequence.position + 1 >= self._context_tokens
        ):
            self._finish(sequence, "length")

    def _finish(
        self, sequence: Sequence, reason: FinishReason, error: EngineError | None = None
    ) -> None:
        """Free slot and pin, then send the last event; safe in every state of a request."""
        if sequence in self._running:
            self._running.remove(sequence)
            self._prompt_tokens += len(sequence.prompt_ids)
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence.slot is not None:
            self._cache.clear(sequence.slot)
            self._free_slots.append(sequence.slot)
            sequence.slot = None
        if sequence.lease is not None:
            sequence.lease.release()
        with self._condition:
            self._known.discard(sequence.request.request_id)
            self._awake = True
        self._completed += 1
        self._completion_tokens += len(sequence.generated)
        sequence.end(reason, error)


def _adapter(sequence: Sequence) -> LoadedAdapter | None:
    return sequence.adapter
