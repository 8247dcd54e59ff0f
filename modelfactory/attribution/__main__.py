"""Attribution in its own process.

``python -m modelfactory.attribution build FOLDER`` builds ``FOLDER/index`` (see ``job`` for what it
reads) and prints one JSON event a line: loading, progress, then done with ``index_digest``,
``records`` and ``bytes_per_record``, or failed. Exit status 0 done, 2 the folder cannot be used.

``python -m modelfactory.attribution append FOLDER --index INDEX`` reads the same and writes
``FOLDER/index``: INDEX with these records after its own.

``python -m modelfactory.attribution delete FOLDER --index INDEX [--calibration CALIBRATION]`` reads
a list of record ids from ``FOLDER/withdrawn.json`` and writes ``FOLDER/index`` and
``FOLDER/calibration`` without them; neither where INDEX has none of them.

``python -m modelfactory.attribution verify INDEX [--calibration CALIBRATION]`` reads every file;
exit status 1 when a digest differs.

``python -m modelfactory.attribution calibrate FOLDER`` fits ``FOLDER/calibration`` to retrained
adapters (see ``calibrate_job``) and ends with ``calibration_digest`` and ``fidelity``.

``python -m modelfactory.attribution measure FOLDER`` says what each adapter thinks of one answer:
``log_probabilities`` in nats, in the order of ``spec.json``'s ``adapters``.

``python -m modelfactory.attribution losses FOLDER`` has ``found`` the loss of each held-out
question under an adapter, ``estimate FOLDER`` the effects of groups of records on them (see
``contributor_job``).

``python -m modelfactory.attribution worker --base PATH --adapters FOLDER --indexes FOLDER`` reads
one JSON request a line on stdin (``request_id`` and what ``AttributionWorker.attribute`` takes) and
answers each with one line: ``{"event": "attribution", "request_id", "attribution"}`` or
``{"event": "failed", "request_id", "code", "message"}``. It ends with its input.

All end when their parent does, and none prints a record's text.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelfactory.attribution.calibration import Calibration, CalibrationDamagedError
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError
from modelfactory.attribution.index_withdrawal import (
    NothingLeftError,
    calibration_for,
    delete_records,
)
from modelfactory.attribution.job import JobError, read_calibration_spec, read_job
from modelfactory.parent import exit_with_parent
from modelfactory.training.recipe import read_examples

DAMAGED_STATUS = 1
UNUSABLE_STATUS = 2


def emit(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def limit_threads(threads: int) -> None:
    """To be called before torch is loaded: OpenMP reads its settings then."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def build(folder: Path) -> int:
    started = time.monotonic()
    try:
        job = read_job(folder)
        limit_threads(job.spec.threads)
        emit(event="loading", records=len(job.records), phantoms=len(job.phantoms))
        from modelfactory.attribution.worker import run_build
        from modelfactory.training.base import BaseError
    except JobError as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    try:
        run_build(job, folder, lambda done, total: emit(event="progress", done=done, of=total))
    except (JobError, BaseError, ValueError) as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    seconds = round(time.monotonic() - started, 3)
    emit(event="done", seconds=seconds, **_said_of(AttributionIndex(folder / "index")))
    return 0


def _said_of(index: AttributionIndex) -> dict[str, Any]:
    return {
        "index_digest": index.digest,
        "records": len(index),
        "phantoms": index.phantom_count,
        "bytes_per_record": index.bytes_per_record,
    }


def append(folder: Path, place: Path) -> int:
    try:
        index = AttributionIndex(place)
        job = read_job(folder)
        limit_threads(job.spec.threads)
        emit(event="loading", records=len(job.records))
        from modelfactory.attribution.worker import run_append

        run_append(job, index, folder)
    except (IndexDamagedError, ValueError, OSError) as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    emit(event="done", **_said_of(AttributionIndex(folder / "index")))
    return 0


def delete(folder: Path, place: Path, calibration_place: Path | None) -> int:
    """Opening the index checks it: a withdrawal never copies a damaged file on."""
    try:
        gone = frozenset(json.loads((folder / "withdrawn.json").read_bytes()))
        index = AttributionIndex(place)
        emit(event="loading", records=len(index))
        calibration_digest = ""
        if not gone.isdisjoint(record.record_id for record in index.records):
            delete_records(index, gone, folder / "index")
            index = AttributionIndex(folder / "index")
        if calibration_place is not None:
            calibration = Calibration(calibration_place)
            calibration_digest = calibration_for(index, calibration, folder / "calibration") or ""
    except CalibrationDamagedError as error:
        emit(event="failed", code="calibration_damaged", message=str(error))
        return UNUSABLE_STATUS
    except IndexDamagedError as error:
        emit(event="failed", code="index_damaged", message=str(error))
        return UNUSABLE_STATUS
    except NothingLeftError as error:
        emit(event="failed", code="nothing_left", message=str(error))
        return UNUSABLE_STATUS
    except (TypeError, ValueError, OSError) as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    emit(event="done", calibration_digest=calibration_digest, **_said_of(index))
    return 0


def verify(place: Path, calibration_place: Path | None) -> int:
    try:
        index = AttributionIndex(place)
        if calibration_place is not None:
            found = Calibration(calibration_place)
            if found.identity.index_digest != index.digest:
                raise CalibrationDamagedError("the calibration is of another index")
    except IndexDamagedError as error:
        emit(event="failed", code="damaged", message=str(error))
        return DAMAGED_STATUS
    emit(event="verified", follows=index.follows, **_said_of(index))
    return 0


def calibrate(folder: Path) -> int:
    try:
        spec = read_calibration_spec(folder)
        limit_threads(spec.threads)
        emit(event="loading", subsets=len(spec.subsets))
        from modelfactory.attribution.calibrate_job import run_calibration

        digest, fidelity = run_calibration(
            spec, folder, lambda done, total: emit(event="progress", done=done, of=total)
        )
    except (IndexDamagedError, ValueError, OSError) as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    emit(event="done", calibration_digest=digest, fidelity=fidelity)
    return 0


def measure(folder: Path) -> int:
    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        limit_threads(int(spec.get("threads", 1)))
        emit(event="loading", adapters=len(spec["adapters"]))
        from modelfactory.attribution.calibrate_job import measure_answer

        found = measure_answer(spec, answer)
    except (KeyError, TypeError, ValueError, OSError) as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    emit(event="done", log_probabilities=found)
    return 0


def losses(folder: Path) -> int:
    return _on_questions(folder, "question_losses")


def estimate(folder: Path) -> int:
    return _on_questions(folder, "estimate_effects")


def _on_questions(folder: Path, function: str) -> int:
    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        questions = list(read_examples(folder / "questions.jsonl"))
        limit_threads(int(spec.get("threads", 1)))
        emit(event="loading", questions=len(questions))
        from modelfactory.attribution import contributor_job

        found = getattr(contributor_job, function)(spec, questions)
    except (IndexDamagedError, KeyError, TypeError, ValueError, OSError) as error:
        emit(event="failed", code="unusable", message=str(error))
        return UNUSABLE_STATUS
    emit(event="done", found=found)
    return 0


def work(base: str, adapters: Path, indexes: Path, threads: int) -> int:
    limit_threads(threads)
    from modelfactory.attribution.worker import AttributionWorker

    worker = AttributionWorker(base, adapters, indexes)
    emit(event="ready", pid=os.getpid())
    for line in sys.stdin:
        request_id = None
        try:
            request = json.loads(line)
            request_id = request["request_id"]
            found = worker.attribute(request)
            emit(event="attribution", request_id=request_id, attribution=found.to_json())
        except Exception as error:  # one bad request must not end the worker
            code = type(error).__name__
            emit(event="failed", request_id=request_id, code=code, message=str(error))
    return 0


_ON_FOLDER = {
    "build": build,
    "calibrate": calibrate,
    "measure": measure,
    "losses": losses,
    "estimate": estimate,
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m modelfactory.attribution")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build FOLDER/index")
    building.add_argument("folder", type=Path)
    for name in ("calibrate", "measure", "losses", "estimate"):
        commands.add_parser(name).add_argument("folder", type=Path)
    for name in ("append", "delete"):
        changing = commands.add_parser(name, help=f"write FOLDER/index from INDEX: {name} records")
        changing.add_argument("folder", type=Path)
        changing.add_argument("--index", required=True, type=Path)
        if name == "delete":
            changing.add_argument("--calibration", type=Path)
    verifying = commands.add_parser("verify", help="check every digest")
    verifying.add_argument("index", type=Path)
    verifying.add_argument("--calibration", type=Path)
    working = commands.add_parser("worker", help="answer requests from standard input")
    working.add_argument("--base", required=True)
    working.add_argument("--adapters", required=True, type=Path)
    working.add_argument("--indexes", required=True, type=Path)
    working.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    exit_with_parent()
    if options.command in _ON_FOLDER:
        return _ON_FOLDER[options.command](options.folder)
    if options.command == "append":
        return append(options.folder, options.index)
    if options.command == "delete":
        return delete(options.folder, options.index, options.calibration)
    if options.command == "verify":
        return verify(options.index, options.calibration)
    return work(options.base, options.adapters, options.indexes, options.threads)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
