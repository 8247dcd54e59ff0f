"""What can be staked on, told by the apps that have it: this app knows a subject's text only.

A subject is `kind:id`, for example `datanet:<uuid>`. Each kind is registered once, at start, with a
function that answers for those ids which a person may see; others are left out, so a page cannot
tell a hidden thing from one that does not exist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class StakeSubject:
    """A thing with its name, its page, and the id of the user who owns it."""

    subject: str
    title: str
    url: str
    owner_id: int

    @property
    def kind(self) -> str:
        return self.subject.partition(":")[0]

    @property
    def public_id(self) -> str:
        return self.subject.partition(":")[2]


# (user, ids) → the visible ones: id → (name, address, id of its owner).
Describe = Callable[[Any, Collection[UUID]], dict[UUID, tuple[str, str, int]]]
_describers: dict[str, Describe] = {}
_never_assets: set[str] = set()


def register_stake_subject(kind: str, function: Describe, *, is_asset: bool = True) -> None:
    """Let an app above say what its things are called, to whom they may be shown, and whether one
    may have a token (decision 0032)."""
    _describers[kind] = function
    if not is_asset:
        _never_assets.add(kind)


def may_be_asset(kind: str) -> bool:
    return kind not in _never_assets


def visible_subjects(user: Any, subjects: Iterable[str]) -> dict[str, StakeSubject]:
    """Those of `subjects` that this person may see; `user` may be anonymous."""
    by_kind: dict[str, set[UUID]] = defaultdict(set)
    for subject in subjects:
        kind, _, public_id = subject.partition(":")
        if kind in _describers:
            by_kind[kind].add(UUID(public_id))
    found: dict[str, StakeSubject] = {}
    for kind, ids in by_kind.items():
        for seen, (title, url, owner_id) in _describers[kind](user, ids).items():
            subject = f"{kind}:{seen}"
            found[subject] = StakeSubject(subject, title, url, owner_id)
    return found
