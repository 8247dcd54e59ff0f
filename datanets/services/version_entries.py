"""The rows of a version, in one pass over the records and in little memory.

A million rows are planned on disk: order, split, leaf and candidates for questions to measure by.
Only what every row has to be compared with stays in memory, as numbers: the leaves, and 64 bits of
each question that training will see.
"""

from __future__ import annotations

import json
import marshal
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, NamedTuple

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from datanets.content import Content, Leaf, assign_split, leaf_hash, plain_words, prompt_of
from datanets.models import Contribution, Datanet, Record, Version, VersionRecord
from datanets.models.sealed import SealedJSONField, sealer_for
from openledger_site.core.sealing import TextSealer

ROWS_AT_ONCE = 2_000
ROWS_A_STATEMENT = 20_000
# No held-out wording is as long: they are made of questions of at most half of this.
QUESTION_CHARACTERS_MAX = 4_000
COLUMNS = (
    "pk", "public_id", "content_hash", "prompt_fingerprint", "salt", "kind", "instruction", "text",
    "messages", "wordings", "contribution_id",
)  # fmt: skip
COPY = (
    "COPY datanets_versionrecord"
    " (version_id, record_id, position, leaf_hash, split, held_out_wordings) FROM STDIN"
)


_JSON = json.JSONEncoder(ensure_ascii=False)


class PlannedEntry(NamedTuple):
    """One leaf. `candidates` are held-out wordings, `prints` their 64 bits (see `_print`)."""

    record_pk: int
    record: str
    contributor: str
    licence: str
    split: str
    leaf_hash: str
    candidates: Sequence[str]
    prints: Sequence[int]


@dataclass(slots=True)
class Plan:
    """What is known after the pass over the records; the entries themselves are in the spool."""

    leaves: list[bytes] = field(default_factory=list)
    train_count: int = 0
    by_contribution: Counter[int] = field(default_factory=Counter)
    trained: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def plan_entries(datanet: Datanet, held_out_percent: int, spool: IO[bytes]) -> Plan:
    """Lock the approved rows, write an entry for each to `spool`, in the order of the leaves.

    By content hash, then id: the order does not depend on who uploaded first. Call in a
    transaction.
    """
    plan, trained = Plan(), array("q")
    seed, terms = str(datanet.public_id), _terms(datanet)
    ordered = _approved(datanet).order_by("content_hash", "public_id").values_list("pk", flat=True)
    pks = array("q", ordered.iterator(ROWS_AT_ONCE * 10))
    for at in range(0, len(pks), ROWS_AT_ONCE):
        rows = _locked_rows(datanet, pks[at : at + ROWS_AT_ONCE])
        prompts = [row["prompt_fingerprint"] for row in rows]
        splits = assign_split(prompts, seed=seed, held_out_percent=held_out_percent)
        entries = []
        for row, split in zip(rows, splits, strict=True):
            entry = _entry(row, split, *terms[row["contribution_id"]])
            plan.by_contribution[row["contribution_id"]] += 1
            plan.leaves.append(bytes.fromhex(entry.leaf_hash))
            if split == VersionRecord.Split.TRAIN:
                plan.train_count += 1
                trained.extend(_trained_prints(row))
            entries.append(tuple(entry))
        _put(spool, entries)
    plan.trained = np.sort(np.frombuffer(trained, dtype=np.int64)) if trained else plan.trained
    return plan


def _approved(datanet: Datanet) -> Any:
    return Record.objects.filter(datanet=datanet, state=Record.State.APPROVED)


def _terms(datanet: Datanet) -> dict[int, tuple[str, str]]:
    """Contributor and licence of each contribution: few of them, many rows."""
    rows = Contribution.objects.filter(datanet=datanet)
    found = rows.values_list("pk", "contributor__public_id", "licence")
    return {pk: (str(contributor), licence) for pk, contributor, licence in found}


def _locked_rows(datanet: Datanet, pks: Sequence[int]) -> list[dict[str, Any]]:
    """In the order of `pks`; a row that was withdrawn a moment ago is not among them."""
    rows = _approved(datanet).filter(pk__in=list(pks)).select_for_update()
    found = {row["pk"]: row for row in rows.values(*COLUMNS)}
    return [found[pk] for pk in pks if pk in found]


def _entry(row: dict[str, Any], split: str, contributor: str, licence: str) -> PlannedEntry:
    record = str(row["public_id"])
    leaf = Leaf(record, row["content_hash"], contributor, licence, split)
    candidates = row["wordings"].get("held_out", [])
    return PlannedEntry(
        row["pk"],
        record,
        contributor,
        licence,
        split,
        leaf_hash(leaf, bytes(row["salt"])).hex(),
        candidates,
        [_print(wording) for wording in candidates],
    )


def _trained_prints(row: dict[str, Any]) -> Iterator[int]:
    """Every question that training will see, so that no evaluation question is among them."""
    content = Content(
        kind=row["kind"],
        instruction=row["instruction"],
        text=row["text"],
        messages=tuple(row["messages"]),
    )
    wordings = row["wordings"]
    for text in (prompt_of(content), *wordings.get("own", ()), *wordings.get("training", ())):
        if len(text) <= QUESTION_CHARACTERS_MAX:
            yield _print(text)


def _print(text: str) -> int:
    """64 bits of the plain words; two questions that differ share them once in 10^18 pairs."""
    return hash(plain_words(text))


def _put(spool: IO[bytes], entries: list[tuple[Any, ...]]) -> None:
    """One batch, its length before it: marshal reads a whole value far faster than a file."""
    data = marshal.dumps(entries)
    spool.write(len(data).to_bytes(8) + data)


def planned(spool: IO[bytes]) -> Iterator[PlannedEntry]:
    """The entries in the order of the leaves, from the first at every call."""
    spool.seek(0)
    while head := spool.read(8):
        batch = marshal.loads(spool.read(int.from_bytes(head)))  # noqa: S302 (our own, nameless file)
        yield from map(PlannedEntry._make, batch)


def copy_entries(
    version: Version, entries: Iterable[PlannedEntry], trained: NDArray[np.int64]
) -> None:
    """Insert them by COPY, each with those held-out wordings that nothing trains on."""
    entries, done = iter(entries), 0
    sealer = sealer_for(version.datanet)
    # A statement of its own every so often: each has a time limit.
    while batch := list(islice(entries, ROWS_A_STATEMENT)):
        prints = np.array([one for entry in batch for one in entry.prints], dtype=np.int64)
        free = iter((~_among(prints, trained)).tolist())
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for place, entry in enumerate(batch, start=done):
                kept = [wording for wording in entry.candidates if next(free)]
                wordings = _JSON.encode(_stored(version, sealer, place, kept))
                copy.write_row(
                    (version.pk, entry.record_pk, place, entry.leaf_hash, entry.split, wordings)
                )
        done += len(batch)


def _stored(
    version: Version, sealer: TextSealer | None, place: int, wordings: list[str]
) -> str | list[str]:
    """As the field would store them: COPY knows nothing of fields."""
    if sealer is None or not wordings:
        return wordings
    field_of: SealedJSONField = VersionRecord._meta.get_field("held_out_wordings")
    return field_of.sealed(wordings, sealer, VersionRecord.place_in(version.pk, place))


def _among(wanted: NDArray[np.int64], ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each number whether it is in `ordered`."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=bool)
    at = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[at] == wanted
    return found
