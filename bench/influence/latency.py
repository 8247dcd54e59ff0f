"""What attribution adds to an answer when a model was trained on many records.

The adapter, its trail, its retrained subsets and the calibration's weights are those of the bench's
own model; the rows of the index are drawn, since a model of so many records would take days. Every
step runs as in the worker: gradients at three moments, the retrained adapters, the scans, BM25, the
posterior of every record, the listing.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.influence.ours import Seeds
from modelfactory.attribution.calibration import (
    Calibration,
    CalibrationIdentity,
    Design,
    calibration_folder,
    write_calibration,
)

ROUNDS = 12


def answer_latency(folder: Path, records: int) -> dict[str, Any]:
    """Seconds of whole answers in the worker, calibrated, with ``records`` drawn records."""
    from modelfactory.attribution.worker import AttributionWorker
    from modelfactory.training.base_files import SHIPPED_BASE

    place = folder / Seeds().place
    digest = next(path.name for path in (place / "indexes").iterdir() if "." not in path.name)
    drawn = folder / f"drawn-{records}"
    shutil.rmtree(drawn, ignore_errors=True)
    size = _draw(place / "indexes", drawn, digest, records)
    questions = [
        json.loads(line)
        for line in (folder / "exchange" / "questions.jsonl").read_text().splitlines()
    ]
    worker = AttributionWorker(str(SHIPPED_BASE), place / "adapters", drawn)
    taken, processor = [], []
    for question in questions[: ROUNDS + 1]:
        began, busy = time.perf_counter(), time.process_time()
        worker.attribute(
            {
                "adapter_digest": digest,
                "prompt_ids": question["prompt_ids"],
                "response_ids": question["response_ids"],
                "question": question["text"].split("\n")[0],
            }
        )
        taken.append((time.perf_counter() - began) * 1e3)
        processor.append((time.process_time() - busy) * 1e3)
    shutil.rmtree(drawn)
    return {
        "records": records,
        "p50_ms": round(float(np.percentile(taken[1:], 50)), 1),
        "p95_ms": round(float(np.percentile(taken[1:], 95)), 1),
        "processor_p50_ms": round(float(np.percentile(processor[1:], 50)), 1),
        "first_ms": round(taken[0], 1),
        "index_bytes_per_record": round(size / records),
    }


def _draw(real: Path, drawn: Path, digest: str, records: int) -> int:
    """An index and a calibration like the real ones with ``records`` drawn rows; returns bytes."""
    from modelfactory.attribution.index import AttributionIndex, IndexRecord, Texts
    from modelfactory.attribution.index_writing import TrackRows, write_index

    index = AttributionIndex(real / digest)
    rng = np.random.default_rng(1)
    width, phantoms = index.sketch.dimensions, index.manifest["phantoms"]
    tracks = [
        TrackRows(
            rng.standard_normal((records, width), dtype=np.float32),
            rng.standard_normal((phantoms, width), dtype=np.float32),
        )
        for _ in index.tracks
    ]
    names = [f"record-{at:07d}" for at in range(records)]
    words = rng.integers(0, 20_000, (records + phantoms, 24))
    texts = [
        Texts(" ".join(f"w{word}" for word in row[:8]), " ".join(f"w{word}" for word in row[8:]))
        for row in words
    ]
    write_index(
        drawn / digest,
        identity=index.identity,
        sketch=index.sketch,
        records=[IndexRecord(name, name) for name in names],
        tracks=tracks,
        texts=texts[:records],
        phantom_texts=texts[records:],
    )
    del tracks
    calibration = Calibration(calibration_folder(real, digest))
    subsets = len(calibration.identity.subsets)
    halves = rng.integers(0, 2, (subsets // 2, records), dtype=np.int8) * 2 - 1
    signs = np.stack([halves, -halves], axis=1).reshape(-1, records).astype(np.int8)
    write_calibration(
        calibration_folder(drawn, digest),
        identity=CalibrationIdentity(
            digest,
            AttributionIndex(drawn / digest, verify=False).digest,
            calibration.identity.signals,
            calibration.identity.subsets,
        ),
        weights=calibration.weights,
        gate_per_mille=calibration.gate_per_mille,
        design=Design(signs, calibration.design.phantoms),
        record_ids=names,
        fidelity=calibration.fidelity,
    )
    return sum(path.stat().st_size for path in (drawn / digest).iterdir())
