"""Freeze the approved rows of a Datanet into a version, and prove that a row is in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max

from datanets.content import (
    Leaf,
    assign_split,
    canonical_json,
    leaf_hash,
    plain_words,
    prompt_of,
)
from datanets.inclusion import SCHEMA as PROOF_SCHEMA
from datanets.models import Datanet, Record, Version, VersionRecord
from datanets.selectors import content_of
from datanets.services.errors import NothingToCut
from datanets.services.summarise_version import make_summary
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError
from openledger_site.core.storage import store_bytes
from rewards.merkle import MerkleTree
from rewards.services.anchors import anchor_root

MANIFEST_SCHEMA = "openledger/datanet-version/1"
HELD_OUT_PERCENT_MAX = 50


def cut_version(
    *, datanet: Datanet, actor: User, note: str = "", held_out_percent: int = 0
) -> Version:
    """A new version over all approved rows, its root queued for the chain.

    Evaluation asks the held-out wordings of every row; with `held_out_percent` whole prompts are
    kept from training too. Raises `NothingToCut` and `DomainError` (percent out of range).
    """
    if not 0 <= held_out_percent <= HELD_OUT_PERCENT_MAX:
        limit = HELD_OUT_PERCENT_MAX
        raise DomainError("Hold out 0 to 50 percent.", where="held_out_percent", limit=limit)
    with transaction.atomic():
        Datanet.objects.select_for_update().get(pk=datanet.pk)
        records = approved_in_order(datanet)
        entries = make_entries(records, seed=str(datanet.public_id), percent=held_out_percent)
        train_count = sum(entry.split == VersionRecord.Split.TRAIN for entry in entries)
        if not train_count:
            raise NothingToCut
        version = Version(
            datanet=datanet,
            number=(datanet.versions.aggregate(last=Max("number"))["last"] or 0) + 1,
            merkle_root=tree_of(entries).root.hex(),
            record_count=len(entries),
            train_count=train_count,
            held_out_percent=held_out_percent,
            created_by=actor,
            note=note,
        )
        version.manifest_digest = store_bytes(canonical_json(manifest_of(version, entries)))
        version.anchor = anchor_root(
            subject=f"version:{version.public_id}",
            root=bytes.fromhex(version.merkle_root),
            count=len(entries),
        )
        version.save(force_insert=True)
        for entry in entries:
            entry.version = version
        VersionRecord.objects.bulk_create(entries, batch_size=1_000)
        make_summary(version)
        record_audit(
            "version.cut",
            actor=actor,
            subject=f"version:{version.public_id}",
            number=version.number,
            records=len(entries),
            root=version.merkle_root,
        )
    return version


def approved_in_order(datanet: Datanet) -> list[Record]:
    """Approved rows by content hash, then id: the order does not depend on who uploaded first."""
    rows = datanet.records.filter(state=Record.State.APPROVED)
    rows = rows.select_related("contribution__contributor")
    return list(rows.select_for_update(of=("self",)).order_by("content_hash", "public_id"))


def make_entries(records: Sequence[Record], *, seed: str, percent: int) -> list[VersionRecord]:
    """One unsaved entry a record: split by prompt, leaf hash, questions kept for measuring."""
    splits = assign_split(
        [record.prompt_fingerprint for record in records], seed=seed, held_out_percent=percent
    )
    trained = _trained_questions(
        record for record, split in zip(records, splits, strict=True) if split == "train"
    )
    return [
        VersionRecord(
            record=record,
            position=position,
            split=split,
            leaf_hash=leaf_hash(leaf_of(record, split), bytes(record.salt)).hex(),
            held_out_wordings=[
                wording
                for wording in record.wordings.get("held_out", ())
                if plain_words(wording) not in trained
            ],
        )
        for position, (record, split) in enumerate(zip(records, splits, strict=True))
    ]


def _trained_questions(records: Any) -> set[str]:
    """Every question that training will see, so that no evaluation question is among them."""
    seen: set[str] = set()
    for record in records:
        asked = [prompt_of(content_of(record))]
        asked += [*record.wordings.get("own", ()), *record.wordings.get("training", ())]
        seen.update(map(plain_words, asked))
    return seen


def leaf_of(record: Record, split: str) -> Leaf:
    return Leaf(
        record=str(record.public_id),
        content_hash=record.content_hash,
        contributor=str(record.contribution.contributor.public_id),
        licence=record.contribution.licence,
        split=split,
    )


def tree_of(entries: Sequence[VersionRecord]) -> MerkleTree:
    return MerkleTree.from_hashes([bytes.fromhex(entry.leaf_hash) for entry in entries])


def manifest_of(version: Version, entries: Sequence[VersionRecord]) -> dict[str, Any]:
    """The public list of leaves with owners and licences; hashes are salted and hold no text."""
    return {
        "schema": MANIFEST_SCHEMA,
        "version": str(version.public_id),
        "number": version.number,
        "datanet": {"id": str(version.datanet.public_id), "slug": version.datanet.slug},
        "merkle_root": version.merkle_root,
        "record_count": version.record_count,
        "train_count": version.train_count,
        "held_out_percent": version.held_out_percent,
        "split_seed": str(version.datanet.public_id),
        "records": [
            {
                "record": str(entry.record.public_id),
                "contributor": str(entry.record.contribution.contributor.public_id),
                "licence": entry.record.contribution.licence,
                "split": entry.split,
                "leaf_hash": entry.leaf_hash,
            }
            for entry in entries
        ],
    }


def inclusion_proof(entry: VersionRecord) -> dict[str, Any]:
    """The proof for one row, with its text and salt. Raises DomainError: the row was withdrawn."""
    record, version = entry.record, entry.version
    if record.state == Record.State.WITHDRAWN:
        raise DomainError("This row was withdrawn: its text and salt are destroyed.", code="gone")
    leaves = list(version.entries.order_by("position").only("leaf_hash", "position"))
    content = content_of(record)
    leaf = leaf_of(record, entry.split)
    return {
        "schema": PROOF_SCHEMA,
        "version": str(version.public_id),
        "number": version.number,
        "datanet": version.datanet.slug,
        "merkle_root": version.merkle_root,
        "content": {
            **{name: getattr(content, name) for name in ("kind", "instruction", "response")},
            **{name: getattr(content, name) for name in ("rejected", "text", "messages")},
        },
        "leaf": {name: getattr(leaf, name) for name in Leaf.__slots__},
        "salt": bytes(record.salt).hex(),
        "leaf_hash": entry.leaf_hash,
        "siblings": [sibling.hex() for sibling in tree_of(leaves).proof(entry.position)],
        "anchor": version.anchor.as_dict() if version.anchor else None,
    }
