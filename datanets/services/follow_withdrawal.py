"""Whoever keeps something made from rows hears of their withdrawal, in the same transaction.

Apps above this one register here when they start, so that nothing is imported upwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Follower = Callable[[Sequence[int]], None]
_followers: dict[str, Follower] = {}


def register_withdrawal_follower(name: str, follower: Follower) -> None:
    """`follower` takes the primary keys of records just withdrawn.

    Their text is gone by then. It runs inside the transaction: quick writes and queued jobs only.
    """
    _followers[name] = follower


def tell_followers(record_pks: Sequence[int]) -> None:
    if record_pks:
        for follower in _followers.values():
            follower(record_pks)
