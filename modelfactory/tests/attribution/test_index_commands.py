"""Append, delete and verify as child processes, and what a worker and a receipt make of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from modelfactory.attribution.calibration import CalibrationDamagedError, calibration_folder
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError
from modelfactory.attribution.record import IndexMovedOnError, ReplayMismatchError, replay
from modelfactory.attribution.worker import AttributionWorker
from modelfactory.tests.attribution.test_process import (
    ENVIRONMENT,
    EXAMPLES,
    MODULE,
    calibrated,
    place,
    requests,
)
from modelfactory.training.recipe import write_examples

__all__ = ["calibrated", "place"]  # fixtures


def run(*arguments: object) -> tuple[int, dict]:
    command = [*MODULE, *map(str, arguments)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def root(calibrated, tmp_path) -> Path:
    """A copy of the calibrated place that a test may change."""
    shutil.copytree(calibrated[0], tmp_path / "place")
    return tmp_path / "place"


def places(root: Path) -> tuple[Path, Path]:
    digest = (root / "digest").read_text()
    return root / "indexes" / digest, calibration_folder(root / "indexes", digest)


def withdraw(root: Path, *record_ids: str) -> dict:
    """Leave records out as the site does: a child, then both folders into their places."""
    index, calibration = places(root)
    job = root / f"job-{record_ids[0]}"
    job.mkdir()
    (job / "withdrawn.json").write_text(json.dumps(record_ids))
    status, event = run("delete", job, "--index", index, "--calibration", calibration)
    assert status == 0, event
    for name, folder in (("index", index), ("calibration", calibration)):
        shutil.rmtree(folder)
        (job / name).rename(folder)
    return event


def worker_of(root: Path) -> AttributionWorker:
    return AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")


def test_a_withdrawn_record_is_scored_by_no_later_answer_of_the_same_worker(root):
    worker, request = worker_of(root), requests(root)[3]
    before = worker.attribute(request)
    assert "record-3" in {record.record_id for record in before.records}
    event = withdraw(root, "record-3")
    after = worker.attribute(request)
    assert after.index_digest == event["index_digest"]
    assert after.calibration_digest == event["calibration_digest"]
    assert (after.method, after.scored_records) == ("calibrated-3", 9)
    assert "record-3" not in {record.record_id for record in after.records}
    assert replay(after, *places(root)) == after


def test_an_answer_from_before_is_not_replayed_and_is_told_from_a_forged_one(root):
    before = worker_of(root).attribute(requests(root)[3])
    withdraw(root, "record-3")
    with pytest.raises(IndexMovedOnError, match="withdrawal"):
        replay(before, *places(root))
    forged = before.to_json() | {"index_digest": "f" * 64}
    with pytest.raises(ReplayMismatchError):
        replay(forged, *places(root))


def test_a_worker_answers_by_the_index_and_calibration_that_were_asked_for_or_not_at_all(root):
    worker, request = worker_of(root), requests(root)[0]
    index, _ = places(root)
    named = {"index_digest": AttributionIndex(index).digest}
    assert worker.attribute(request | named | {"calibration_digest": ""}).method == "efim-2"
    with pytest.raises(IndexDamagedError):
        worker.attribute(request | {"index_digest": "f" * 64})
    with pytest.raises(CalibrationDamagedError):
        worker.attribute(request | named | {"calibration_digest": "f" * 64})


def test_an_adapter_swapped_on_disk_is_refused_by_a_worker_that_has_it_loaded(root):
    worker, request = worker_of(root), requests(root)[0]
    worker.attribute(request)
    adapters = root / "adapters"
    own = adapters / request["adapter_digest"]
    other = next(path for path in sorted(adapters.iterdir()) if path != own)
    shutil.copy(other / "adapter_model.safetensors", own / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="another digest"):
        worker.attribute(request)


def test_what_belongs_together_is_verified_and_a_flipped_byte_is_found(root):
    index, calibration = places(root)
    status, event = run("verify", index, "--calibration", calibration)
    assert (status, event["event"], event["records"]) == (0, "verified", 10)
    size = sum(path.stat().st_size for path in index.iterdir() if path.name != "manifest.json")
    assert event["bytes_per_record"] == size // 10
    shard = index / "0-rows-00000.int8"
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    status, event = run("verify", index)
    assert (status, event["code"]) == (1, "damaged")


def test_a_withdrawal_never_copies_a_damaged_file_on(root, tmp_path):
    index, _ = places(root)
    shard = index / "0-rows-00000.int8"
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    (tmp_path / "withdrawn.json").write_text('["record-3"]')
    status, event = run("delete", tmp_path, "--index", index)
    assert (status, event["code"]) == (2, "index_damaged")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("names", "code"),
    [("null", "unusable"), (json.dumps([f"record-{at}" for at in range(10)]), "nothing_left")],
)
def test_a_withdrawal_that_cannot_be_says_why(root, tmp_path, names, code):
    (tmp_path / "withdrawn.json").write_text(names)
    status, event = run("delete", tmp_path, "--index", places(root)[0])
    assert (status, event["code"]) == (2, code)


def test_records_are_added_with_the_gradients_of_the_same_adapter(root, tmp_path):
    index, _ = places(root)
    base, adapter = root / "base", root / "adapters" / index.name
    spec = {"schema": 1, "base": str(base), "adapter": str(adapter), "max_length": 96}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (tmp_path / "withdrawn.json").write_text('["record-9"]')
    assert run("delete", tmp_path, "--index", index)[0] == 0
    fewer = (tmp_path / "index").rename(tmp_path / "fewer")
    last = [example for example in EXAMPLES if example.record_id == "record-9"]
    write_examples(
        tmp_path / "records.jsonl",
        [*last, *(type(last[0])("new", one.prompt + "!", "value 5") for one in last)],
    )
    status, event = run("append", tmp_path, "--index", fewer)
    assert (status, event["records"]) == (0, 11)
    added, whole = AttributionIndex(tmp_path / "index"), AttributionIndex(index)
    assert (added.tracks[0].rows()[:10] == whole.tracks[0].rows()).all()
