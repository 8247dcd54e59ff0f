"""Leave withdrawn records out of an index, and out of the calibration that belongs to it.

Rows, scales, words and cluster memberships of the records go; the sums (curvature, norms) are
computed again from the rows that stay. What stays as it was: the balance of the modules and the
axes of a larger index (sums over all rows), the phantoms, and the weights of the calibration,
fitted while the records were there. The adapter, and the retrained ones, have learnt the records
and still have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.basis import Basis
from modelfactory.attribution.calibration import (
    Calibration,
    CalibrationIdentity,
    Design,
    write_calibration,
)
from modelfactory.attribution.index import HALVES, AttributionIndex, IndexRecord, Track
from modelfactory.attribution.index_writing import Blocks, StoredTrack, spanned, write_stored
from modelfactory.attribution.method import signal_names

WITHDRAWAL = "withdrawal"


class NothingLeftError(ValueError):
    """All records of an index are withdrawn: there is nothing left to attribute to."""


def delete_records(index: AttributionIndex, gone: Collection[str], folder: Path) -> str:
    """Write ``index`` without the records ``gone`` to ``folder``; returns the new digest.

    Ids that it does not have are no error. Raises ``NothingLeftError``.
    """
    keep = np.array([record.record_id not in gone for record in index.records])
    if not keep.any():
        raise NothingLeftError("no record of this index would be left")
    with_phantoms = np.concatenate([keep, np.ones(index.phantom_count, dtype=np.bool_)])
    return write_stored(
        folder,
        identity=index.identity,
        sketch=index.sketch,
        records=_reclustered(index.records, gone),
        tracks=[_without(track, keep, with_phantoms) for track in index.tracks],
        words={half: index.words(half).kept(with_phantoms) for half in HALVES},
        follows={**index.follows, index.digest: WITHDRAWAL},
        wide=index.wide,
    )


def _without(
    track: Track, keep: npt.NDArray[np.bool_], with_phantoms: npt.NDArray[np.bool_]
) -> StoredTrack:
    """Where rows stand in the span of the records that span is made anew, without the gone ones."""
    if track.basis is None:
        blocks = _kept(track, keep)
        return StoredTrack(blocks, track.phantom_rows(), track.balance, axes=track.axes)
    rows = track.basis.rows.kept(with_phantoms)
    basis = Basis(track.basis.sketch, track.basis.wide, rows, int(keep.sum()))
    return spanned(basis, track.balance)


def _kept(track: Track, keep: npt.NDArray[np.bool_]) -> Blocks:
    start = 0
    for values, scales in track.blocks():
        own = keep[start : start + len(values)]
        start += len(values)
        yield values[own], scales[own]


def _reclustered(records: Sequence[IndexRecord], gone: Collection[str]) -> Iterator[IndexRecord]:
    """Where a cluster's first record is gone the next oldest one stands for it.

    A cluster that only the withdrawn record held together stays together until the next build.
    """
    kept = [record for record in records if record.record_id not in gone]
    heirs: dict[str, str] = {}
    for record in kept:
        heirs.setdefault(record.cluster, record.record_id)
    return (IndexRecord(record.record_id, heirs[record.cluster]) for record in kept)


def calibration_for(index: AttributionIndex, calibration: Calibration, folder: Path) -> str | None:
    """Write ``calibration`` for ``index``, which has fewer of its records; returns its digest.

    The columns of the records that are gone are dropped. None, and nothing is written, where it
    does not fit: records that it does not know, other phantoms or other signals.
    """
    columns = {record_id: at for at, record_id in enumerate(calibration.record_ids)}
    ids = [record.record_id for record in index.records]
    design = calibration.design
    fits = (
        all(record_id in columns for record_id in ids)
        and design.phantoms.shape[1] == index.phantom_count
        and calibration.identity.signals == signal_names(index)
        and calibration.identity.adapter_digest == index.identity.adapter_digest
    )
    if not fits:
        return None
    before, now = calibration.fidelity, len(ids)
    return write_calibration(
        folder,
        identity=CalibrationIdentity(
            index.identity.adapter_digest,
            index.digest,
            calibration.identity.signals,
            calibration.identity.subsets,
        ),
        weights=calibration.weights,
        gate_per_mille=calibration.gate_per_mille,
        schema=calibration.schema,
        design=Design(design.records[:, [columns[name] for name in ids]], design.phantoms),
        record_ids=ids,
        # Measured with all of its records, and said so wherever it is shown.
        fidelity={**before, "withdrawn": int(before.get("records", now)) - now},
    )
