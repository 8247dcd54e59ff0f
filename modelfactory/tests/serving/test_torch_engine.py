from __future__ import annotations

import asyncio
import time

import pytest

from modelfactory.serving.engine import (
    AdapterInvalidError,
    AdapterMissingError,
    EngineBusyError,
    GenerationRequest,
    InvalidRequestError,
)
from modelfactory.tests.serving.conftest import ask, collect, save_adapter, text_of, tokens_of


async def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the state did not come in time"
        await asyncio.sleep(0.005)


def is_idle(engine) -> bool:
    health = engine.health()
    pins = sum(adapter.pins for adapter in engine.residency())
    return (health.running, health.waiting, health.free_slots, pins) == (0, 0, 8, 0)


async def test_the_first_event_says_what_the_model_read(make_engine, tokenizer):
    messages = ({"role": "user", "content": "hi"},)
    request = GenerationRequest("r", messages=messages, max_tokens=2)
    events = await collect(make_engine().submit(request))
    assert tokenizer.decode(list(events[0].prompt_ids)) == "<|user|>hi<|end|><|assistant|>"


async def test_the_last_event_meters_prompt_and_emitted_tokens(make_engine):
    events = await collect(make_engine().submit(ask("r", [5] * 30, max_tokens=6)))
    last = events[-1]
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (30, len(tokens_of(events)))
    assert last.finish_reason in {"stop", "length"}
    assert 0 <= last.timings.queued_seconds <= last.timings.first_token_seconds
    assert all(event.usage is None for event in events[:-1])


async def test_the_same_seed_samples_the_same_tokens_whoever_else_runs(make_engine):
    engine = make_engine()
    options = {"temperature": 1.5, "top_p": 0.9, "max_tokens": 10}
    alone = tokens_of(await collect(engine.submit(ask("a", seed=3, **options))))
    crowd = [engine.submit(ask(f"n{at}", seed=at + 9, **options)) for at in range(4)]
    again = tokens_of(await collect(engine.submit(ask("b", seed=3, **options))))
    others = [tokens_of(events) for events in await asyncio.gather(*map(collect, crowd))]
    assert again == alone
    assert len({tuple(tokens) for tokens in [alone, *others]}) > 1


async def test_more_requests_than_slots_are_all_answered(make_engine, adapters):
    engine = make_engine(slots=2, adapters_per_step=1)
    streams = [
        engine.submit(ask(f"r{at}", adapter=[*adapters, None][at % 5], max_tokens=4))
        for at in range(15)
    ]
    answers = await asyncio.gather(*map(collect, streams))
    assert all(events[-1].error_code is None for events in answers)


async def test_a_cancelled_request_is_metered_and_frees_everything(make_engine, adapters):
    engine = make_engine()
    stream = engine.submit(ask("r", adapter=adapters[0], max_tokens=100))
    async for event in stream:
        if event.token_ids:
            engine.cancel("r")
        last = event
    assert last.finish_reason in {"cancelled", "stop"}
    assert last.usage.completion_tokens >= 1
    await until(lambda: is_idle(engine))


async def test_a_stream_that_is_closed_or_dropped_cancels_its_request(make_engine):
    engine = make_engine()
    closed = engine.submit(ask("closed", max_tokens=120))
    await closed.aclose()
    dropped = engine.submit(ask("dropped", max_tokens=120))
    del dropped
    await until(lambda: is_idle(engine))


async def test_a_storm_of_cancels_leaves_nothing_behind(make_engine, adapters):
    engine = make_engine()
    streams = [engine.submit(ask(f"r{at}", adapter=adapters[at % 4])) for at in range(40)]
    for at in range(0, 40, 2):
        engine.cancel(f"r{at}")
    answers = await asyncio.gather(*map(collect, streams))
    assert all(answer[-1].usage is not None for answer in answers)
    await until(lambda: is_idle(engine))


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(make_engine):
    engine = make_engine(slots=1, waiting_requests=1)
    first = engine.submit(ask("first", max_tokens=120))
    await until(lambda: engine.health().running == 1)
    second = engine.submit(ask("second"))
    with pytest.raises(EngineBusyError) as refusal:
        engine.submit(ask("third"))
    assert refusal.value.retry_after_seconds > 0
    await first.aclose()
    await collect(second)


async def test_a_request_id_in_use_is_refused(make_engine):
    engine = make_engine()
    stream = engine.submit(ask("same", max_tokens=120))
    with pytest.raises(InvalidRequestError, match="in use"):
        engine.submit(ask("same"))
    await stream.aclose()


@pytest.mark.parametrize("prompt", [[5] * 128, [], [-1], [264], [2**70]])
async def test_a_prompt_that_does_not_fit_is_refused(make_engine, prompt):
    with pytest.raises(InvalidRequestError):
        make_engine().submit(ask("r", prompt))


async def test_an_answer_ends_where_the_context_ends(make_engine):
    events = await collect(make_engine().submit(ask("r", [5] * 120, max_tokens=500)))
    assert events[-1].finish_reason in {"length", "stop"}
    assert events[-1].usage.completion_tokens <= 8


async def test_a_missing_adapter_ends_only_its_own_request(make_engine, adapters):
    engine = make_engine()
    bad = engine.submit(ask("bad", adapter="0" * 64))
    good = engine.submit(ask("good", adapter=adapters[0], max_tokens=3))
    refused, answered = await asyncio.gather(collect(bad), collect(good))
    assert (refused[-1].error_code, refused[-1].usage.prompt_tokens) == ("adapter_missing", 0)
    assert answered[-1].error_code is None
    with pytest.raises(AdapterMissingError):
        refused[-1].raise_error()


async def test_ensure_loads_and_evict_drops(make_engine, adapters):
    engine = make_engine()
    loaded = await engine.ensure(adapters[1])
    assert (loaded.digest, loaded.rank, loaded.pins) == (adapters[1], 8, 1)
    assert [item.digest for item in engine.residency()] == [adapters[1]]
    assert engine.evict(adapters[1])
    assert not engine.evict(adapters[1])


async def test_a_running_adapter_cannot_be_evicted_and_an_idle_one_makes_room(
    make_engine, adapters
):
    size = (await make_engine().ensure(adapters[1])).size_bytes
    engine = make_engine(adapter_budget_bytes=int(size * 1.4))
    streams = [
        engine.submit(ask(f"r{at}", adapter=digest, max_tokens=5))
        for at, digest in enumerate(adapters * 3)
    ]
    answers = await asyncio.gather(*map(collect, streams))
    assert all(events[-1].error_code is None for events in answers)
    assert engine.health().details["adapter_bytes"] <= int(size * 1.4)


async def test_churn_in_a_small_cache_changes_no_answer(make_engine, adapters):
    largest = (await make_engine().ensure(adapters[1])).size_bytes
    roomy, tight = make_engine(), make_engine(adapter_budget_bytes=largest + 20_000)
    answers = {roomy: [], tight: []}
    for engine, found in answers.items():
        for at in range(12):
            case = ask(f"r{at}", [at + 1, 7], adapter=adapters[at % 4], max_tokens=6)
            found.append(tokens_of(await collect(engine.submit(case))))
    assert answers[roomy] == answers[tight]
    assert tight.health().details["adapter_misses"] > roomy.health().details["adapter_misses"] == 4


async def test_an_adapter_larger_than_the_budget_is_refused_for_good(make_engine, adapters):
    with pytest.raises(AdapterInvalidError, match="budget"):
        await make_engine(adapter_budget_bytes=1000).ensure(adapters[0])


async def poison(engine, adapters_root) -> str:
    """An adapter in the engine's memory whose first layer overflows."""
    digest = save_adapter(adapters_root, "llama", 50, r=2)
    lease = engine._adapters.lease(digest)
    lease.future.result().layers["model.layers.0.mlp.down_proj"][1].fill_(3e38)
    return digest


async def test_weights_that_overflow_end_only_their_own_request(
    make_engine, adapters_root, adapters
):
    engine = make_engine()
    digest = await poison(engine, adapters_root)
    quiet = await collect(engine.submit(ask("quiet", adapter=adapters[0], max_tokens=8)))
    bad = engine.submit(ask("bad", adapter=digest, max_tokens=8))
    good = engine.submit(ask("good", adapter=adapters[0], max_tokens=8))
    poisoned, answered = await asyncio.gather(collect(bad), collect(good))
    assert poisoned[-1].finish_reason == "error"
    assert tokens_of(answered) == tokens_of(quiet)


async def test_a_freed_slot_leaves_nothing_to_the_next_request(make_engine, adapters_root):
    engine = make_engine(slots=2, prefill_chunk_tokens=64)
    quiet = tokens_of(await collect(engine.submit(ask("quiet", max_tokens=8))))
    digest = await poison(engine, adapters_root)
    await collect(engine.submit(ask("bad", [5] * 40, adapter=digest)))
    # Beside a longer row the short one's mask covers what the bad request left in its slot.
    short = engine.submit(ask("short", max_tokens=8))
    long = engine.submit(ask("long", [9] * 40, max_tokens=8))
    answered, _ = await asyncio.gather(collect(short), collect(long))
    assert tokens_of(answered) == quiet


async def test_a_step_that_fails_does_not_stop_the_engine(make_engine):
    engine = make_engine()
    handle = engine._model.register_forward_pre_hook(lambda *_: 1 / 0)
    failed = await collect(engine.submit(ask("failed")))
    handle.remove()
    assert (failed[-1].finish_reason, failed[-1].error_code) == ("error", "engine_error")
    answered = await collect(engine.submit(ask("answered", max_tokens=2)))
    assert answered[-1].error_code is None
    assert is_idle(engine)


async def test_stop_strings_end_the_answer_and_are_not_part_of_it(make_engine):
    engine = make_engine()
    whole = text_of(await collect(engine.submit(ask("whole", max_tokens=30))))
    stop = whole[4:6]
    events = await collect(engine.submit(ask("r", max_tokens=30, stop=(stop,))))
    assert text_of(events) == whole[: whole.index(stop)]
    assert events[-1].finish_reason == "stop"


async def test_closing_the_engine_ends_open_requests(make_engine):
    engine = make_engine()
    stream = engine.submit(ask("r", max_tokens=120))
    engine.close()
    events = await collect(stream)
    assert events[-1].finish_reason in {"cancelled", "stop", "length"}
    with pytest.raises(EngineBusyError):
        engine.submit(ask("late"))
