"""A version by its definition: what a cut writes is what anybody would compute from the rows.

The definition stands here once more, row by row and plain; the service may be as clever as it
likes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

import pytest
from django.db import connection

from datanets.content import (
    Leaf,
    assign_split,
    canonical_json,
    content_hash,
    leaf_hash,
    plain_words,
    prompt_fingerprint,
    prompt_of,
    row_fingerprint,
)
from datanets.facets import Counts, length_bucket
from datanets.models import Contribution, Datanet, Record, Version, VersionRecord
from datanets.provenance import summary_for_machines
from datanets.selectors import content_of
from datanets.selectors.counts import count_rows_by_facet, rows_of_version
from datanets.services import cut_version, version_entries
from openledger_site.core.storage import blob_path
from rewards.merkle import MerkleTree

pytestmark = pytest.mark.django_db
PERCENT = 30
ROOT = "27a5331abd2c99da9b743302141dc680b47af0f234907a32f80ca4fb80a7e2cb"

QUESTIONS = (
    "What does error number {} mean?",
    "  What   does\terror number {}\nmean ?? ",
    "Was bedeutet Fehler {}, in der Straße GROSS?",
    "ΤΙ ΣΗΜΑΙΝΕΙ ΤΟ ΣΦΑΛΜΑ {};",  # noqa: RUF001 (Greek)
    'A "quoted" \\ back\\slash, a {{brace}} and a \x1f sign in number {}…',
    "Ｆｕｌｌ ｗｉｄｔｈ ﬁ number {}.",  # noqa: RUF001 (its normal form is another)
)


@dataclass
class Expected:
    leaves: list[str]
    splits: list[str]
    wordings: list[list[str]]
    counts: Counts


def _uuid(kind: int, number: int) -> UUID:
    return UUID(int=(kind << 64) + number)


def _wordings(at: int) -> dict[str, list[str]]:
    """Every fifth row asks, held out, what the row after it trains on in another spelling."""
    clash = QUESTIONS[(at + 1) % 6].format(at + 1).upper() if at % 5 == 0 else f"Meaning {at} \\ ?"
    if at % 7 == 3:
        return {}
    return {
        "own": [f"Own wording {at}"] * (at % 3 == 0),
        "training": [f"Explain  error {at}.", "x" * 4_001 + f"{at}", f"Définir {at}"],
        "held_out": [clash, f"“In short”, {at}\tis\nwhat?", f"Explain error {at}"],
    }


def _content(at: int) -> dict[str, object]:
    question = QUESTIONS[at % 6].format(at // 2 if at % 4 == 1 else at)
    kind = ("instruction", "preference", "text", "chat")[at % 4]
    if kind == "text":
        return {"kind": kind, "text": question}
    if kind == "chat":
        turns = [("system", "Be brief."), ("user", question), ("assistant", f"Answer {at}")]
        return {"kind": kind, "messages": [{"role": role, "content": text} for role, text in turns]}
    more = {"rejected": f"No idea about {at}"} if kind == "preference" else {}
    return {"kind": kind, "instruction": question, "response": f"Answer {at}", **more}


def fill(datanet: Datanet, givers: list, rows: int = 96) -> None:
    """Approved rows of three contributions, the same at every run; some that are not approved."""
    Datanet.objects.filter(pk=datanet.pk).update(public_id=_uuid(1, 1))
    datanet.refresh_from_db()
    given = []
    for at, (giver, licence) in enumerate(givers):
        type(giver).objects.filter(pk=giver.pk).update(public_id=_uuid(2, at))
        given.append(
            Contribution.objects.create(
                datanet=datanet, contributor=giver, title="Rows", file_digest="0" * 64,
                size_bytes=1, licence=licence, agreement_version="1", rows_read=rows,
                rows_accepted=rows,
                state=Contribution.State.DECIDED, source="own" if at else "",
            )
        )  # fmt: skip
    Record.objects.bulk_create(_record(at, given[at % 3], datanet) for at in range(rows))


def _record(at: int, contribution: Contribution, datanet: Datanet) -> Record:
    fields = _content(at)
    content = content_of(Record(**fields))
    return Record(
        public_id=_uuid(3, at * 7919 % 101), contribution=contribution, datanet=datanet,
        position=at + 1, wordings=_wordings(at), content_hash=content_hash(content),
        fingerprint=row_fingerprint(content), prompt_fingerprint=prompt_fingerprint(content),
        salt=bytes([at]) * 32, state="pending" if at % 11 == 10 else "approved",
        flags=[["long_row"], [], ["long_row", "refusal"]][at % 3], characters=at * 60,
        language=["en", "", "de"][at % 3], **fields,
    )  # fmt: skip


def by_definition(datanet: Datanet) -> tuple[list[Record], Expected]:
    rows = sorted(
        Record.objects.filter(datanet=datanet, state="approved").select_related(
            "contribution__contributor", "datanet"
        ),
        key=lambda row: (row.content_hash, str(row.public_id)),
    )
    told = {row.pk: _hashes(row) for row in rows}
    groups = [told[row.pk][1] for row in rows]
    splits = assign_split(groups, seed=str(datanet.public_id), held_out_percent=PERCENT)
    trained = {
        plain_words(text)
        for row, split in zip(rows, splits, strict=True)
        if split == "train"
        for text in (prompt_of(content_of(row)), *_asked(row, "own"), *_asked(row, "training"))
        if len(text) <= version_entries.QUESTION_CHARACTERS_MAX
    }
    leaves = [
        leaf_hash(Leaf(**_told(row, split), content_hash=told[row.pk][0]), bytes(row.salt)).hex()
        for row, split in zip(rows, splits, strict=True)
    ]
    wordings = [
        [text for text in _asked(row, "held_out") if plain_words(text) not in trained]
        for row in rows
    ]
    return rows, Expected(leaves, splits, wordings, _counted(rows))


def _hashes(row: Record) -> tuple[str, str]:
    """Of the row and of what it asks: plain ones, which a private row is not stored under."""
    if row.datanet.visibility == "private":
        content = content_of(row)
        return content_hash(content), prompt_fingerprint(content)
    return row.content_hash, row.prompt_fingerprint


def _asked(row: Record, which: str) -> list[str]:
    return row.wordings.get(which, [])


def _told(row: Record, split: str) -> dict[str, str]:
    owner, licence = row.contribution.contributor, row.contribution.licence
    told = {"record": str(row.public_id), "contributor": str(owner.public_id)}
    return {**told, "licence": licence, "split": split}


def _counted(rows: list[Record]) -> Counts:
    counts = Counts(len(rows))
    for row in rows:
        counts.by["length"][str(length_bucket(row.characters))] += 1
        counts.by["kind"][row.kind] += 1
        counts.by["language"][row.language or "none"] += 1
        for flag in row.flags or ["none"]:
            counts.by["label"][flag] += 1
        counts.by["licence"][row.contribution.licence] += 1
        counts.by["contributor"][str(row.contribution.contributor_id)] += 1
        for name in ("source", "method", "origin", "consent", "made_from", "made_to"):
            counts.by[name][str(getattr(row.contribution, name) or "none")] += 1
    return counts


def manifest_of(version: Version, rows: list[Record], expected: Expected) -> bytes:
    listed = [
        {**_told(row, split), "leaf_hash": leaf}
        for row, split, leaf in zip(rows, expected.splits, expected.leaves, strict=True)
    ]
    return canonical_json(
        {
            "schema": "openledger/datanet-version/1",
            "version": str(version.public_id),
            "number": version.number,
            "datanet": {"id": str(version.datanet.public_id), "slug": version.datanet.slug},
            "merkle_root": version.merkle_root,
            "record_count": len(rows),
            "train_count": expected.splits.count("train"),
            "held_out_percent": PERCENT,
            "split_seed": str(version.datanet.public_id),
            "provenance": summary_for_machines(expected.counts),
            "records": listed,
        }
    )


@pytest.fixture(params=["public", "private"])
def filled(request, datanet, private, owner, contributor, reviewer) -> Datanet:
    chosen = datanet if request.param == "public" else private
    licences = ("PSF-2.0", "CC0-1.0", "LicenseRef-OpenLedger-Train-Only")
    fill(chosen, list(zip((owner, contributor, reviewer), licences, strict=True)))
    return chosen


@pytest.fixture(params=[7, 1_000], ids=lambda rows: f"{rows} rows at once")
def cut(request, filled, owner, monkeypatch) -> Version:
    """With batches that end in the middle, and in one batch."""
    monkeypatch.setattr(version_entries, "ROWS_AT_ONCE", request.param)
    return cut_version(datanet=filled, actor=owner, held_out_percent=PERCENT)


def test_entries_root_and_manifest_are_those_of_the_definition(cut: Version, filled: Datanet):
    rows, expected = by_definition(filled)
    entries = list(cut.entries.order_by("position"))
    assert [entry.record_id for entry in entries] == [row.pk for row in rows]
    assert [entry.position for entry in entries] == list(range(len(rows)))
    assert [entry.leaf_hash for entry in entries] == expected.leaves
    assert [entry.split for entry in entries] == expected.splits
    assert {"train", "held_out"} == set(expected.splits)
    tree = MerkleTree.from_hashes([bytes.fromhex(leaf) for leaf in expected.leaves])
    assert cut.merkle_root == tree.root.hex()
    assert blob_path(cut.manifest_digest).read_bytes() == manifest_of(cut, rows, expected)


def test_held_out_wordings_are_those_that_nothing_trains_on(cut: Version, filled: Datanet):
    _, expected = by_definition(filled)
    kept = [entry.held_out_wordings for entry in cut.entries.order_by("position")]
    assert kept == expected.wordings
    assert (
        0 < sum(map(len, kept)) < sum(len(_asked(row, "held_out")) for row in Record.objects.all())
    )


def test_texts_too_long_to_be_asked_are_not_compared(filled: Datanet, owner):
    """Neither one just above the limit nor one that is not even fetched."""
    row = Record.objects.filter(datanet=filled, kind="text").first()
    for at, size in enumerate((4_000, 4_001, 40_000), start=900):
        text = ("z" * size)[: size - 1] + "é"
        wordings = {"held_out": [text[:4_000], f"Is it {at}?"]}
        row.pk, row.public_id, row.text, row.wordings = None, _uuid(4, at), text, wordings
        row.position = at
        row.prompt_fingerprint, row.content_hash = str(at), f"{at:064}"
        row.save(force_insert=True)
    version = cut_version(datanet=filled, actor=owner, held_out_percent=PERCENT)
    _, expected = by_definition(filled)
    kept = [entry.held_out_wordings for entry in version.entries.order_by("position")]
    assert kept == expected.wordings


def test_the_summary_counts_what_the_version_holds(cut: Version, filled: Datanet):
    _, expected = by_definition(filled)
    assert Counts.from_json(cut.summary.counts) == expected.counts
    assert count_rows_by_facet(rows_of_version(cut)) == expected.counts


def test_wordings_of_a_private_datanet_lie_sealed(cut: Version, filled: Datanet):
    with connection.cursor() as cursor:
        cursor.execute("SELECT held_out_wordings FROM datanets_versionrecord ORDER BY position")
        stored = [json.loads(value) for (value,) in cursor.fetchall()]
    sealed = filled.visibility == "private"
    assert {type(one) for one in stored if one} == ({str} if sealed else {list})
    assert VersionRecord.objects.count() == len(stored)


def test_the_leaves_are_those_of_every_release_before(filled: Datanet, owner):
    """Their root was written down when it was first computed: a change of it breaks every proof
    given out. A private Datanet has the same leaves in another order, that of its keyed hashes.
    """
    version = cut_version(datanet=filled, actor=owner, held_out_percent=PERCENT)
    entries = list(version.entries.select_related("record__datanet"))
    if filled.visibility == "public":
        assert version.merkle_root == ROOT
    entries.sort(key=lambda entry: (_hashes(entry.record)[0], str(entry.record.public_id)))
    leaves = [bytes.fromhex(entry.leaf_hash) for entry in entries]
    assert MerkleTree.from_hashes(leaves).root.hex() == ROOT
