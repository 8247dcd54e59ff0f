"""Work on one thing while the next is fetched: two that wait for each other become one pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; each is made in a thread while the caller works on the one before.

    No more than one lies ready. What goes wrong while one is made is raised when its turn comes; a
    caller that stops waits for the one being made, and makes no other.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield item  # type: ignore[misc] # the end is no item
