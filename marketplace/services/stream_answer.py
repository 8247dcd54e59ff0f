"""The answer itself: words as they come, metered as they come, recorded however it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from datanets.selectors import may_read_some, record_cards
from marketplace.models import AgentVersion, Inference
from marketplace.services.forget_passages import any_withdrawn
from marketplace.services.settle_again import queue_settling
from modelfactory.services import (
    Passage,
    RightToServeEnded,
    check_serving,
    count_withheld,
    needs_guard,
    open_guard,
    passages_about,
    price_wei,
    retrieve_passages,
)
from modelfactory.serving.client import EngineClient
from modelfactory.serving.engine import EngineError, Event, GenerationRequest, InvalidRequestError
from modelfactory.serving.output_guard import StreamGuard
from modelfactory.training.chat import with_passages
from openledger_site.core.errors import DomainError, Unavailable
from rewards.services import void_hold

Rows = AgentVersion.Rows
PASSAGES_MAX = 3
CHECK_SECONDS = 0.4
"""How old a right may be when a word leaves; a second after it is revoked none does."""
STREAM_SECONDS_MAX = 540.0
"""An answer is over after this, read or not; a minute later the sweep would call it abandoned."""


class EngineAway(Unavailable):
    code = "engine_unavailable"
    message = "The model cannot answer at the moment. You were not charged; try again shortly."


class PromptRefused(DomainError):
    status = 400
    code = "invalid_request"


class NoSource(DomainError):
    code = "no_source"
    message = (
        "This agent answers only from rows that you may read, and found none about this question."
        " You were not charged. Ask in the words that its rows use, or ask its model."
    )


@dataclass
class Meter:
    """What the engine delivered. Its own count wins; a broken stream is billed as delivered."""

    text: list[str] = field(default_factory=list)
    prompt_ids: list[int] = field(default_factory=list)
    response_ids: list[int] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "cancelled"
    error_code: str = ""
    guard: StreamGuard | None = None
    """What the words have to pass; what it keeps is neither stored nor billed."""

    def add(self, event: Event) -> Event:
        """Count an event; returns it as it may leave."""
        event = self._guarded(event)
        self.text.append(event.text_delta)
        self.response_ids.extend(event.token_ids)
        if event.prompt_ids is not None:
            self.prompt_ids = list(event.prompt_ids)
        self.prompt_tokens = len(self.prompt_ids)
        self.completion_tokens = len(self.response_ids)
        if event.finish_reason is not None:
            self.finish_reason = event.finish_reason
            self.error_code = event.error_code or ""
        if event.usage is not None:
            self.prompt_tokens = event.usage.prompt_tokens
            self.completion_tokens = event.usage.completion_tokens
        return event

    def _guarded(self, event: Event) -> Event:
        if self.guard is None:
            return event
        text = self.guard.feed(event.text_delta)
        if event.finish_reason is not None:
            text += self.guard.finish()
        return replace(event, text_delta=text)

    @property
    def guards_rows(self) -> bool:
        return self.guard is not None and self.guard.of_rows

    @property
    def whole(self) -> bool:
        """Every word that was generated was delivered."""
        return self.guard is None or self.guard.passed_characters == self.guard.read_characters

    @property
    def delivered_tokens(self) -> int:
        """Tokens by the share of the characters that were delivered, rounded down."""
        if self.guard is None or self.whole:
            return self.completion_tokens
        passed, read = self.guard.passed_characters, self.guard.read_characters
        return self.completion_tokens * passed // read

    @property
    def spans_withheld(self) -> int:
        return self.guard.spans if self.guard is not None else 0


async def stream_answer(inference: Inference) -> AsyncIterator[Event]:
    """Generate, yielding the engine's events. Closing the iterator cancels and bills what came; so
    does a reader who stands still, or an engine that is slow, for `STREAM_SECONDS_MAX`.

    Raises `EngineAway` or `PromptRefused` when nothing could be generated, and `RightToServeEnded`
    when a right is revoked meanwhile, `NoSource` where an agent wants one; nothing is charged then.
    """
    meter, checked_at = Meter(), time.monotonic()
    ending = asyncio.create_task(_end_in_time(inference.pk, meter))
    try:
        passages = await sync_to_async(_open_book)(inference)
        meter.guard = await sync_to_async(_guard)(inference)
        async for event in _engine().generate(_request(inference, passages)):
            if ending.done():
                break
            if time.monotonic() - checked_at > CHECK_SECONDS:
                await sync_to_async(_check_rights)(inference, guarded=meter.guards_rows)
                checked_at = time.monotonic()
            sent = meter.add(event)
            event.raise_error()
            yield sent
    except RightToServeEnded as ended:
        # Free, and not kept either: the words may be those of rows that are no longer theirs.
        meter = Meter(finish_reason="error", error_code=ended.code)
        raise
    except NoSource as missing:
        meter.error_code = missing.code
        raise
    except InvalidRequestError as problem:
        meter.finish_reason, meter.error_code = "error", problem.code
        raise PromptRefused(str(problem), where="messages") from problem
    except EngineError as problem:
        meter.finish_reason, meter.error_code = "error", problem.code
        raise EngineAway() from problem
    finally:
        ending.cancel()
        # Shielded: a reader who hangs up must not stop us from writing down what they got.
        await asyncio.shield(sync_to_async(finish_answer)(inference.pk, meter))


async def _end_in_time(inference_id: int, meter: Meter) -> None:
    """Bill what came in time: a word that waits for its reader would come after the sweep."""
    began = time.monotonic()
    while time.monotonic() - began < STREAM_SECONDS_MAX:
        await asyncio.sleep(1)
    await sync_to_async(finish_answer)(inference_id, meter)


def _engine() -> EngineClient:
    return EngineClient(settings.ENGINE_URL, settings.ENGINE_TOKEN)


def _open_book(inference: Inference) -> list[str]:
    """Texts of the records that help with the question; only those the consumer may read.

    The inference keeps their ids and hashes, not their text. For somebody who may read none, the
    rows are not even loaded. Raises `NoSource`.
    """
    version = inference.agent_version
    rows = version.rows if version else Rows.LOOK_UP
    found: list[Passage] = []
    if rows != Rows.NONE and may_read_some(inference.consumer, _datanet_of(inference)):
        found = retrieve_passages(inference.model, inference.question, PASSAGES_MAX)
    cards = record_cards(inference.consumer, [passage.record_id for passage in found])
    opened = [passage for passage in found if cards[passage.record_id].readable]
    if rows == Rows.ONLY:
        opened = passages_about(inference.model, inference.question, opened)
        if not opened:
            raise NoSource()
    inference.passages = [
        {"record": passage.record_id, "content_hash": cards[passage.record_id].content_hash}
        for passage in opened
    ]
    Inference.objects.filter(pk=inference.pk).update(passages=inference.passages)
    return [passage.text for passage in opened]


def _datanet_of(inference: Inference) -> int:
    return inference.model.run.version.datanet_id


def _guard(inference: Inference) -> StreamGuard | None:
    asked = [message["content"] for message in inference.messages]
    hidden = _hidden_instructions(inference)
    return open_guard(inference.consumer, inference.model.run, asked, hidden)


def _hidden_instructions(inference: Inference) -> list[str]:
    """A small model recites what it was told: the words are its owner's, as private rows are."""
    version = inference.agent_version
    if version is None or version.agent.shows_instructions:
        return []
    is_owner = version.agent.owner_id == inference.consumer_id
    return [version.instructions] if version.instructions and not is_owner else []


def _check_rights(inference: Inference, *, guarded: bool) -> None:
    """The builder's right to serve, and the consumer's to read: the passages that were opened, and
    the rows themselves where nothing guards them.
    """
    check_serving(inference.model.run)
    if not guarded and needs_guard(inference.consumer, inference.model.run):
        raise RightToServeEnded("Your right to read the rows behind this answer has ended.")
    read = [passage["record"] for passage in inference.passages]
    cards = record_cards(inference.consumer, read)
    if not all(record_id in cards and cards[record_id].readable for record_id in read):
        raise RightToServeEnded("Your right to read the rows behind this answer has ended.")


def _request(inference: Inference, passages: list[str]) -> GenerationRequest:
    sampling = inference.sampling
    return GenerationRequest(
        request_id=str(inference.public_id),
        adapter=inference.adapter_digest,
        messages=tuple(with_passages(inference.read_messages, passages)),
        max_tokens=sampling["max_tokens"],
        temperature=sampling["temperature"],
        top_p=sampling["top_p"],
        seed=sampling["seed"],
        stop=tuple(sampling["stop"]),
        tenant=f"user:{inference.consumer_id}",
    )


def finish_answer(inference_id: int, meter: Meter) -> None:
    """Write down what was delivered and start its attribution, or free the hold. Once only."""
    with transaction.atomic():
        inference = (
            Inference.objects.select_for_update(of=("self",))
            .select_related("model__run", "hold", "consumer", "agent_version")
            .get(pk=inference_id)
        )
        if inference.state != Inference.State.ANSWERING:
            return
        inference.answer = _storable("".join(meter.text))
        inference.prompt_ids = [] if any_withdrawn(inference) else meter.prompt_ids
        # Tokens spell out what was withheld: the delivered text gives its own when it is settled.
        inference.response_ids = meter.response_ids if meter.whole else []
        inference.prompt_tokens = meter.prompt_tokens
        inference.completion_tokens = meter.delivered_tokens
        inference.finish_reason, inference.error_code = meter.finish_reason, meter.error_code
        inference.answered_at = Now()
        if meter.spans_withheld and meter.guards_rows:
            count_withheld(inference.model.run, meter.spans_withheld)
        if not inference.completion_tokens:
            inference.state = Inference.State.FAILED
            nothing = "withheld" if meter.spans_withheld else "nothing_delivered"
            inference.error_code = meter.error_code or nothing
            # Refused, not answered: the same request may be sent again under the same key.
            inference.idempotency_key = ""
            void_hold(inference.hold)
        else:
            inference.state = Inference.State.ANSWERED
            # Never above what the consumer agreed to, whatever the meter says.
            fee = price_wei(inference.model, inference.prompt_tokens, inference.completion_tokens)
            inference.fee_wei = min(inference.paid_for(fee), inference.hold.amount_wei)
            inference.job = queue_settling(inference)
        inference.save()


def _storable(text: str) -> str:
    """A model can say anything; PostgreSQL's text holds neither NUL nor half a surrogate pair."""
    whole = text.encode("utf-8", "replace").decode()
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
