"""Freeze the approved rows of a Datanet into a version, and prove that a row is in one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max

from datanets.content import Leaf
from datanets.inclusion import SCHEMA as PROOF_SCHEMA
from datanets.models import Datanet, Record, Version, VersionRecord
from datanets.provenance import summary_for_machines
from datanets.selectors import content_of, plain_hash
from datanets.services.errors import AllHeldOut, NothingToCut
from datanets.services.summarise_version import make_summary
from datanets.services.version_entries import copy_entries, listed, plan_entries, planned
from datanets.services.version_manifest import MANIFEST_MAX_BYTES, manifest_chunks
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError
from openledger_site.core.row_security import all_rows
from openledger_site.core.storage import store_file
from rewards.merkle import MerkleTree
from rewards.services.anchors import anchor_root

HELD_OUT_PERCENT_MAX = 50


@all_rows("a version holds all accepted rows; COPY takes no policies")
def cut_version(
    *, datanet: Datanet, actor: User, note: str = "", held_out_percent: int = 0
) -> Version:
    """A new version over all approved rows, its root queued for the chain.

    Evaluation asks the held-out wordings of every row; with `held_out_percent` whole prompts are
    kept from training too. Raises `NothingToCut`, `AllHeldOut` and `DomainError`
    (percent out of range).
    """
    if not 0 <= held_out_percent <= HELD_OUT_PERCENT_MAX:
        limit = HELD_OUT_PERCENT_MAX
        raise DomainError("Hold out 0 to 50 percent.", where="held_out_percent", limit=limit)
    with transaction.atomic(), tempfile.TemporaryFile() as spool:
        # Whoever takes a row out locks it too, so the rows themselves need no lock each.
        Datanet.objects.select_for_update(no_key=True).get(pk=datanet.pk)
        plan = plan_entries(datanet, held_out_percent, spool)
        if not plan.train_count:
            raise AllHeldOut(len(plan.leaves)) if plan.leaves else NothingToCut
        version = Version(
            datanet=datanet,
            number=(datanet.versions.aggregate(last=Max("number"))["last"] or 0) + 1,
            merkle_root=MerkleTree.from_hashes(plan.leaves).root.hex(),
            record_count=len(plan.leaves),
            train_count=plan.train_count,
            held_out_percent=held_out_percent,
            created_by=actor,
            note=note,
        )
        version.manifest_digest, _ = store_file(
            manifest_chunks(version, listed(spool), summary_for_machines(plan.counts)),
            size_max_bytes=MANIFEST_MAX_BYTES,
        )
        version.anchor = anchor_root(
            subject=f"version:{version.public_id}",
            root=bytes.fromhex(version.merkle_root),
            count=version.record_count,
        )
        version.save(force_insert=True)
        copy_entries(version, planned(spool), plan.trained)
        make_summary(version, plan.counts)
        record_audit(
            "version.cut",
            actor=actor,
            subject=f"version:{version.public_id}",
            number=version.number,
            records=version.record_count,
            root=version.merkle_root,
        )
    return version


def leaf_of(record: Record, split: str) -> Leaf:
    return Leaf(
        record=str(record.public_id),
        content_hash=plain_hash(record),
        contributor=str(record.contribution.contributor.public_id),
        licence=record.contribution.licence,
        split=split,
    )


def tree_of(entries: Sequence[VersionRecord]) -> MerkleTree:
    return MerkleTree.from_hashes([bytes.fromhex(entry.leaf_hash) for entry in entries])


@all_rows("a proof is made of the hashes of all rows")
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
