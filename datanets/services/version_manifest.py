"""The public list of a version's leaves, written as a stream: a million rows fit in no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from datanets.content import canonical_json
from datanets.models import Version

MANIFEST_SCHEMA = "openledger/datanet-version/1"
MANIFEST_MAX_BYTES = 8 << 30


def manifest_chunks(
    version: Version, listed: Iterable[bytes], provenance: Mapping[str, Any]
) -> Iterator[bytes]:
    """Canonical JSON in pieces: owners, licences, and hashes that are salted and hold no text.

    `listed` are the rows, some in each piece; `provenance` sums up what the contributors said of
    their rows when the version was cut.
    """
    around = canonical_json(_around(version) | {"provenance": provenance})
    before, after = around.split(b'"records":[]')
    before += b'"records":'
    yield before + b"["
    mark = b""
    for rows in listed:
        yield mark + rows
        mark = b","
    yield b"]" + after


def _around(version: Version) -> dict[str, Any]:
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
        "records": [],
    }
