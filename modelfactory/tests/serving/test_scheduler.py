from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from modelfactory.serving.scheduler import Limits, choose


@dataclass(frozen=True)
class Item:
    name: str
    tenant: str = "t"
    adapter_digest: str | None = None
    submitted_at: float = 0.0


LIMITS = Limits(slots=4, adapters_per_step=2, aging_seconds=2.0)


def names(waiting, running=(), now=0.0, limits=LIMITS) -> list[str]:
    return [item.name for item in choose(waiting, running, limits, now)]


def test_the_oldest_goes_first():
    assert names([Item("b", submitted_at=2), Item("a", submitted_at=1)]) == ["a", "b"]


def test_a_noisy_tenant_does_not_take_all_places():
    noisy = [Item(f"n{at}", "noisy", submitted_at=at) for at in range(6)]
    assert names([*noisy, Item("q", "quiet", submitted_at=9)]) == ["n0", "q", "n1", "n2"]


def test_running_requests_count_for_their_tenant():
    running = [Item("x", "noisy")]
    waiting = [Item("n", "noisy", submitted_at=1), Item("q", "quiet", submitted_at=2)]
    assert names(waiting, running) == ["q", "n"]


def test_an_adapter_too_many_is_skipped_and_the_base_never_is():
    running = [Item("x", adapter_digest="A"), Item("y", adapter_digest="B")]
    waiting = [Item("c", adapter_digest="C"), Item("a", adapter_digest="A"), Item("base")]
    assert names(waiting, running) == ["a", "base"]


def test_an_old_request_is_not_overtaken():
    running = [Item("x", adapter_digest="A"), Item("y", adapter_digest="B")]
    waiting = [Item("c", adapter_digest="C"), Item("a", adapter_digest="A", submitted_at=2.5)]
    assert names(waiting, running, now=3.0) == []


items = st.builds(
    Item,
    st.uuids().map(str),
    st.sampled_from("ab"),
    st.sampled_from(["A", "B", "C", None]),
    st.floats(0, 5),
)


@given(st.lists(items, max_size=12))
def test_limits_hold_for_any_queue(waiting):
    chosen = choose(waiting, [], LIMITS, now=5.0)
    assert len(chosen) == len(set(chosen)) <= 4
    assert len({item.adapter_digest for item in chosen} - {None}) <= 2
