"""The adapters in memory: a byte budget, pins, and one load at a time per digest.

A request holds a ``Lease`` from before its adapter is read until it ends. A leased adapter is never
evicted, so a running request cannot see its weights replaced. Room is reserved before reading; when
nothing can be evicted the cache hands out no lease and the request waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from modelfactory.serving.adapter_loader import LoadedAdapter, load_adapter, weights_bytes
from modelfactory.serving.engine import (
    AdapterInvalidError,
    AdapterPinnedError,
    EngineError,
    ResidentAdapter,
)

REMEMBERED_FAILURES = 256


@dataclass
class _Slot:
    """A resident or loading adapter. ``reserved_bytes`` is the file size until it is loaded."""

    future: Future[LoadedAdapter]
    reserved_bytes: int
    pins: int = 0
    hits: int = 0


class Lease:
    """A pin on an adapter; ``future`` resolves to it, or to the adapter error."""

    def __init__(
        self, digest: str, future: Future[LoadedAdapter], on_release: Callable[[], None]
    ) -> None:
        self.digest = digest
        self.future = future
        self._on_release: Callable[[], None] | None = on_release

    def release(self) -> None:
        """Give the pin back; a second call does nothing."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release()


class AdapterCache:
    """Adapters under ``root/<digest>/``, at most ``budget_bytes`` of them in memory."""

    def __init__(
        self, root: Path, shapes: Mapping[str, tuple[int, int]], budget_bytes: int
    ) -> None:
        self._root = root
        self._shapes = shapes
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._failures: OrderedDict[str, EngineError] = OrderedDict()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="adapter-loader")
        self.misses = 0

    def lease(self, digest: str) -> Lease | None:
        """Pin an adapter and start to load it; None when there is no room until a pin is freed.

        Raises the adapter errors at once when the file is missing, too large or known to be bad.
        """
        size = weights_bytes(self._root, digest)
        with self._lock:
            if digest in self._failures:
                raise self._failures[digest]
            slot = self._slots.get(digest)
            if slot is None:
                if size > self._budget_bytes:
                    raise AdapterInvalidError(
                        f"the adapter has {size} bytes; the budget is smaller"
                    )
                if not self._make_room(size):
                    return None
                slot = _Slot(Future(), size)
                self._slots[digest] = slot
                self.misses += 1
                self._reader.submit(self._load, digest, slot)
            slot.pins += 1
            slot.hits += 1
            self._slots.move_to_end(digest)
            return Lease(digest, slot.future, lambda: self._unpin(slot))

    def evict(self, digest: str) -> bool:
        """Drop an adapter; False when it is not resident. Raises ``AdapterPinnedError``."""
        with self._lock:
            slot = self._slots.get(digest)
            if slot is None:
                return False
            if slot.pins:
                raise AdapterPinnedError(f"adapter {digest[:12]} has {slot.pins} running requests")
            del self._slots[digest]
            return True

    def residency(self) -> list[ResidentAdapter]:
        """What is in memory, least recently used first."""
        with self._lock:
            found = [(slot, slot.future.result()) for slot in self._slots.values() if _loaded(slot)]
            return [
                ResidentAdapter(
                    adapter.digest,
                    adapter.size_bytes,
                    adapter.rank,
                    slot.pins,
                    slot.hits,
                    adapter.load_seconds,
                )
                for slot, adapter in found
            ]

    @property
    def used_bytes(self) -> int:
        with self._lock:
            return self._used()

    def close(self) -> None:
        self._reader.shutdown(wait=True, cancel_futures=True)

    def _used(self) -> int:
        return sum(slot.reserved_bytes for slot in self._slots.values())

    def _make_room(self, size: int) -> bool:
        """Evict unpinned adapters, oldest first, until ``size`` fits; the lock is held."""
        pinned = sum(slot.reserved_bytes for slot in self._slots.values() if slot.pins)
        if pinned + size > self._budget_bytes:
            return False
        self._trim(size)
        return True

    def _trim(self, needed_bytes: int = 0) -> None:
        """Evict unpinned adapters while the budget has less than ``needed_bytes`` left."""
        for digest in [digest for digest, slot in self._slots.items() if not slot.pins]:
            if self._used() + needed_bytes <= self._budget_bytes:
                break
            del self._slots[digest]

    def _unpin(self, slot: _Slot) -> None:
        with self._lock:
            slot.pins -= 1
            assert slot.pins >= 0, "an adapter was released twice"  # noqa: S101 - invariant
            self._trim()

    def _load(self, digest: str, slot: _Slot) -> None:
        try:
            adapter = load_adapter(self._root, digest, self._shapes, self._budget_bytes)
        except EngineError as error:
            with self._lock:
                self._slots.pop(digest, None)
                if isinstance(error, AdapterInvalidError):  # immutable by digest: it stays bad
                    self._failures[digest] = error
                    while len(self._failures) > REMEMBERED_FAILURES:
                        self._failures.popitem(last=False)
            slot.future.set_exception(error)
        except Exception as error:  # a bug must fail one request, not hang it
            with self._lock:
                self._slots.pop(digest, None)
            slot.future.set_exception(EngineError(f"loading failed: {error!r}"))
        else:
            with self._lock:
                slot.reserved_bytes = adapter.size_bytes
                self._trim()
            slot.future.set_result(adapter)


def _loaded(slot: _Slot) -> bool:
    return slot.future.done() and slot.future.exception() is None
