"""The rows of a version, in one pass over the records and in little memory.

A million rows are planned on disk: order, split, leaf and candidates for questions to measure by.
Only what every row has to be compared with stays in memory, as numbers: the leaves, and 64 bits of
each question that training will see. Everything is done for some thousand rows at once: what costs
a microsecond a row costs a second a version.
"""

from __future__ import annotations

import json
import marshal
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from json.encoder import encode_basestring
from typing import IO, Any, NamedTuple

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from datanets.content import (
    Content,
    LeafHasher,
    assign_split,
    content_hash,
    plain_words_of_many,
    prompt_fingerprint,
    prompt_of,
)
from datanets.facets import LENGTH_EDGES, Counts
from datanets.models import Contribution, DataKey, Datanet, Record, Version, VersionRecord
from datanets.models.sealed import SealedJSONField, is_keyed, opened, opened_bytes, sealer_for
from datanets.selectors.counts import Group, fold_groups
from openledger_site.core.ahead import one_ahead
from openledger_site.core.sealing import TextSealer

ROWS_AT_ONCE = 2_000
# Rows whose hashes are keyed are read whole, since leaf and split are made of the plain ones.
WHOLE_ROWS_AT_ONCE = 200
# No held-out wording is as long: they are made of questions of at most half of this.
QUESTION_CHARACTERS_MAX = 4_000
# None of so many characters is longer, sealed or not: more is not even fetched.
_QUESTION_BYTES_MAX = 8 * QUESTION_CHARACTERS_MAX
_READ = """
SELECT id, public_id::text, content_hash, prompt_fingerprint, salt, kind,
    CASE WHEN octet_length(instruction) <= %(bytes)s THEN instruction END,
    CASE WHEN octet_length(text) <= %(bytes)s THEN text END,
    messages::text, wordings::text, contribution_id, language, flags::text,
    width_bucket(characters, %(edges)s)
FROM datanets_record WHERE datanet_id = %(datanet)s AND state = 'approved'
ORDER BY content_hash, public_id
"""
_READ_WHOLE = """
SELECT id, public_id::text, content_hash, prompt_fingerprint, salt, kind, instruction, text,
    messages::text, wordings::text, contribution_id, language, flags::text,
    width_bucket(characters, %(edges)s), response, rejected
FROM datanets_record WHERE datanet_id = %(datanet)s AND state = 'approved'
ORDER BY content_hash, public_id
"""
_COPY = (
    "COPY datanets_versionrecord"
    " (version_id, record_id, position, leaf_hash, split, held_out_wordings) FROM STDIN"
)


class PlannedEntries(NamedTuple):
    """Some leaves, column by column. `candidates` are each row's held-out wordings, `prints` the 64
    bits of all of them (see `_prints`)."""

    record_pks: Sequence[int]
    leaf_hashes: Sequence[str]
    splits: Sequence[str]
    candidates: Sequence[Sequence[str]]
    prints: Sequence[int]


@dataclass(slots=True)
class Plan:
    """What is known after the pass over the records; the entries themselves are in the spool."""

    leaves: list[bytes] = field(default_factory=list)
    train_count: int = 0
    counts: Counts = field(default_factory=Counts)
    trained: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


class _Terms:
    """Contributor and licence of a contribution, as leaves and manifest say them."""

    def __init__(self, contributor: str, licence: str) -> None:
        self.leaf = LeafHasher(contributor, licence).hash
        self.before = f'{{"contributor":{json.dumps(contributor)},"leaf_hash":"'
        self.between = f'","licence":{encode_basestring(licence)},"record":"'


def plan_entries(datanet: Datanet, held_out_percent: int, spool: IO[bytes]) -> Plan:
    """Write an entry for each approved row to `spool`, in the order of the leaves.

    By content hash, then id: the order does not depend on who uploaded first, and where the hash
    is keyed it tells nothing of a text. Call in a transaction that has locked the Datanet: nobody
    takes a row out meanwhile.
    """
    plan, trained, groups = Plan(), array("q"), Counter[tuple[Any, ...]]()
    seed, terms = str(datanet.public_id), _terms(datanet)
    for rows in _approved(datanet):
        splits = assign_split(rows.prompt_prints, seed=seed, held_out_percent=held_out_percent)
        made, listed = _entries(rows, splits, terms)
        plan.leaves += map(bytes.fromhex, made.leaf_hashes)
        plan.train_count += splits.count(VersionRecord.Split.TRAIN)
        trained.extend(_prints(_trained_texts(rows, splits)))
        groups.update(zip(rows.given_by, rows.kinds, rows.languages, rows.flags, rows.buckets))  # noqa: B905 (columns of one table)
        _put(spool, listed)
        columns: Any = tuple(made)
        _put(spool, marshal.dumps(columns))  # reads a whole value far faster than a file
    plan.counts = fold_groups(
        Group(given_by, kind, language, json.loads(flags), bucket, count)
        for (given_by, kind, language, flags, bucket), count in groups.items()
    )
    plan.trained = np.sort(np.frombuffer(trained, dtype=np.int64)) if trained else plan.trained
    return plan


class _Rows(NamedTuple):
    """Some records, column by column as `_READ` names them; wordings are read already.

    Hashes are plain and salts open, whatever is stored; `responses` and `rejected` are those of
    `_READ_WHOLE`.
    """

    pks: Sequence[int]
    ids: Sequence[str]
    content_hashes: Sequence[str]
    prompt_prints: Sequence[str]
    salts: Sequence[bytes]
    kinds: Sequence[str]
    instructions: Sequence[str | None]
    texts: Sequence[str | None]
    messages: Sequence[str]
    wordings: Sequence[dict[str, list[str]]]
    given_by: Sequence[int]
    languages: Sequence[str]
    flags: Sequence[str]
    buckets: Sequence[int]
    responses: Sequence[str] = ()
    rejected: Sequence[str] = ()


def _approved(datanet: Datanet) -> Iterator[_Rows]:
    whole = DataKey.objects.filter(datanet=datanet, use=DataKey.Use.ROWS).exists()
    at_once = min(ROWS_AT_ONCE, WHOLE_ROWS_AT_ONCE) if whole else ROWS_AT_ONCE
    with connection.chunked_cursor() as cursor:
        named: dict[str, Any] = {
            "bytes": _QUESTION_BYTES_MAX,
            "edges": list(LENGTH_EDGES),
            "datanet": datanet.pk,
        }
        cursor.execute(_READ_WHOLE if whole else _READ, named)
        for batch in one_ahead(iter(lambda: cursor.fetchmany(at_once), [])):
            rows = _Rows(*zip(*batch, strict=True))
            rows = rows._replace(wordings=_read_json(rows.wordings, "wordings"))
            yield _with_plain_hashes(rows) if whole else rows


def _with_plain_hashes(rows: _Rows) -> _Rows:
    """Leaf and split are made of the plain hashes; nothing turns a keyed one back."""
    hashes, prints = [*rows.content_hashes], [*rows.prompt_prints]
    for at, stored in enumerate(rows.content_hashes):
        if is_keyed(stored):
            content = _content(rows, at)
            hashes[at], prints[at] = content_hash(content), prompt_fingerprint(content)
    salts = [opened_bytes(salt, "salt") for salt in rows.salts]
    return rows._replace(content_hashes=hashes, prompt_prints=prints, salts=salts)


def _content(rows: _Rows, at: int) -> Content:
    """The whole row, opened."""
    return Content(
        kind=rows.kinds[at],
        instruction=opened(rows.instructions[at] or "", "instruction"),
        response=opened(rows.responses[at], "response"),
        rejected=opened(rows.rejected[at], "rejected"),
        text=opened(rows.texts[at] or "", "text"),
        messages=tuple(_read_json([rows.messages[at]], "messages")[0]),
    )


def _read_json(values: Sequence[Any], column: str) -> list[Any]:
    """As the field would read them: what is sealed is a string."""
    read = json.loads(f"[{','.join(values)}]")
    return [json.loads(opened(one, column)) if isinstance(one, str) else one for one in read]


def _terms(datanet: Datanet) -> dict[int, _Terms]:
    """Contributor and licence of each contribution: few of them, many rows."""
    rows = Contribution.objects.filter(datanet=datanet)
    found = rows.values_list("pk", "contributor__public_id", "licence")
    return {pk: _Terms(str(contributor), licence) for pk, contributor, licence in found}


def _entries(
    rows: _Rows, splits: Sequence[str], terms: dict[int, _Terms]
) -> tuple[PlannedEntries, bytes]:
    """The entries, and the same rows as the manifest lists them."""
    given = [terms[pk] for pk in rows.given_by]
    columns = zip(given, rows.ids, rows.content_hashes, splits, rows.salts, strict=True)
    leaves = [
        own.leaf(record, content_hash, split, salt).hex()
        for own, record, content_hash, split, salt in columns
    ]
    candidates = [wordings.get("held_out", []) for wordings in rows.wordings]
    listed = [
        f'{own.before}{leaf}{own.between}{record}","split":"{split}"}}'
        for own, leaf, record, split in zip(given, leaves, rows.ids, splits, strict=True)
    ]
    prints = _prints([*chain.from_iterable(candidates)])
    entries = PlannedEntries(rows.pks, leaves, splits, candidates, prints)
    return entries, ",".join(listed).encode()


def _trained_texts(rows: _Rows, splits: Sequence[str]) -> list[str]:
    """Every question that training will see, so that no evaluation question is among them."""
    asked: list[str] = []
    columns = zip(splits, _prompts(rows), rows.wordings, strict=True)
    for split, prompt, wordings in columns:
        if split == VersionRecord.Split.TRAIN:
            asked += [prompt] if prompt is not None else []
            asked += wordings.get("own", ())
            asked += wordings.get("training", ())
    return [text for text in asked if len(text) <= QUESTION_CHARACTERS_MAX]


def _prompts(rows: _Rows) -> Iterator[str | None]:
    """None for one too long to be asked."""
    columns = zip(rows.kinds, rows.instructions, rows.texts, rows.messages, strict=True)
    for kind, instruction, text, messages in columns:
        if kind == Record.Kind.CHAT:
            turns = _read_json([messages], "messages")[0]
            yield prompt_of(Content(kind, messages=tuple(turns)))
        else:
            own, column = (
                (text, "text") if kind == Record.Kind.TEXT else (instruction, "instruction")
            )
            yield None if own is None else opened(own, column)


def _prints(texts: Sequence[str]) -> list[int]:
    """64 bits of the plain words of each; two questions that differ share them once in 10^18
    pairs."""
    return [*map(hash, plain_words_of_many(texts))]


def _put(spool: IO[bytes], data: bytes) -> None:
    spool.write(len(data).to_bytes(8) + data)


def listed(spool: IO[bytes]) -> Iterator[bytes]:
    """The rows as the manifest lists them, some at once, from the first at every call."""
    spool.seek(0)
    while head := spool.read(8):
        yield spool.read(int.from_bytes(head))
        spool.seek(int.from_bytes(spool.read(8)), os.SEEK_CUR)


def planned(spool: IO[bytes]) -> Iterator[PlannedEntries]:
    """The entries in the order of the leaves, from the first at every call."""
    spool.seek(0)
    while head := spool.read(8):
        spool.seek(int.from_bytes(head), os.SEEK_CUR)
        data = spool.read(int.from_bytes(spool.read(8)))
        yield PlannedEntries(*marshal.loads(data))  # noqa: S302 (our own, nameless file)


def copy_entries(
    version: Version, batches: Iterable[PlannedEntries], trained: NDArray[np.int64]
) -> None:
    """Insert them by COPY, each with those held-out wordings that nothing trains on.

    A statement a batch: each has a time limit.
    """
    for lines in one_ahead(_lines(version, sealer_for(version.datanet), batches, trained)):
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.write(lines)


def _lines(
    version: Version,
    sealer: TextSealer | None,
    batches: Iterable[PlannedEntries],
    trained: NDArray[np.int64],
) -> Iterator[str]:
    done = 0
    for batch in batches:
        free = iter((~_among(np.array(batch.prints, dtype=np.int64), trained)).tolist())
        lines = []
        columns = zip(
            batch.record_pks, batch.leaf_hashes, batch.splits, batch.candidates, strict=True
        )
        for place, (pk, leaf, split, candidates) in enumerate(columns, start=done):
            kept = [wording for wording in candidates if next(free)]
            wordings = _stored(version, sealer, place, kept)
            lines.append(f"{version.pk}\t{pk}\t{place}\t{leaf}\t{split}\t{wordings}\n")
        done += len(lines)
        yield "".join(lines)


def _stored(version: Version, sealer: TextSealer | None, place: int, wordings: list[str]) -> str:
    """JSON as the field would store it, written as COPY wants it: that knows nothing of fields.

    JSON has neither tabs nor line ends, so that only what escapes them has to be escaped itself.
    """
    if sealer is None or not wordings:
        return f"[{','.join(map(encode_basestring, wordings))}]".replace("\\", "\\\\")
    field_of: SealedJSONField = VersionRecord._meta.get_field("held_out_wordings")
    place_in = VersionRecord.place_in(version.pk, place)
    return encode_basestring(field_of.sealed(wordings, sealer, place_in)).replace("\\", "\\\\")


def _among(wanted: NDArray[np.int64], ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each number whether it is in `ordered`."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=bool)
    at = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[at] == wanted
    return found
