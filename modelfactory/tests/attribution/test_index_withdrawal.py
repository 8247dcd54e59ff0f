"""A withdrawn record leaves everything that an index and a calibration hold of it."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from modelfactory.attribution import index_writing, opened
from modelfactory.attribution.calibration import (
    Calibration,
    CalibrationIdentity,
    Design,
    write_calibration,
)
from modelfactory.attribution.index import (
    HALVES,
    AttributionIndex,
    IndexDamagedError,
    IndexIdentity,
    IndexRecord,
    Texts,
)
from modelfactory.attribution.index_withdrawal import (
    NothingLeftError,
    calibration_for,
    delete_records,
)
from modelfactory.attribution.index_writing import TrackRows, append_records, write_index
from modelfactory.attribution.influence import make_curvature
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.attribution.method import signal_names
from modelfactory.attribution.opened import OpenFolders
from modelfactory.attribution.sketch import plan_sketch
from modelfactory.tests.attribution.test_calibration import WEIGHTS

RANDOM = np.random.default_rng(11)
SKETCH = plan_sketch({"first": 40, "second": 30}, dimensions=24, seed=3)
IDENTITY = IndexIdentity("b" * 64, "a" * 64, "efim", 0.1, "mean", ("a" * 64, "e" * 64))
COUNT, PHANTOMS = 20, 8
ROWS = RANDOM.normal(size=(2, COUNT, 24)).astype(np.float32)
NOISE = RANDOM.normal(size=(2, PHANTOMS, 24)).astype(np.float32)
# The first three say the same, and the fifth and sixth do.
CLUSTERS = {1: 0, 2: 0, 5: 4}


def name(at: int) -> str:
    return f"record-{at:02d}"


def texts(at: int) -> Texts:
    return Texts(f"shared question{at}", f"shared answer{at} rare{at}")


def record(at: int) -> IndexRecord:
    return IndexRecord(name(at), name(CLUSTERS.get(at, at)))


def built(folder, count=COUNT) -> AttributionIndex:
    write_index(
        folder,
        identity=IDENTITY,
        sketch=SKETCH,
        records=[record(at) for at in range(count)],
        tracks=[TrackRows(rows[:count], noise) for rows, noise in zip(ROWS, NOISE, strict=True)],
        texts=[texts(at) for at in range(count)],
        phantom_texts=[Texts(f"phantom{at}", f"nothing{at}") for at in range(PHANTOMS)],
    )
    return AttributionIndex(folder)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """So that twenty rows fill several shards; blocks divide a shard, as they do."""
    monkeypatch.setattr(index_writing, "ROWS_PER_SHARD", 8)
    monkeypatch.setattr(index_writing, "ROWS_PER_BLOCK", 4)
    monkeypatch.setattr("modelfactory.attribution.index.ROWS_PER_BLOCK", 4)


@pytest.fixture
def index(tmp_path):
    return built(tmp_path / "index")


def without(index, gone, tmp_path) -> AttributionIndex:
    delete_records(index, {name(at) for at in gone}, tmp_path / "less")
    return AttributionIndex(tmp_path / "less")


def files_of(index: AttributionIndex) -> dict[str, str]:
    return {name: file["sha256"] for name, file in index.manifest["files"].items()}


def test_the_rows_of_the_others_stay_as_they_were(index, tmp_path):
    less = without(index, {0, 9, 19}, tmp_path)
    kept = [at for at in range(COUNT) if at not in {0, 9, 19}]
    assert [record.record_id for record in less.records] == [name(at) for at in kept]
    for before, after in zip(index.tracks, less.tracks, strict=True):
        assert (after.rows() == before.rows()[kept]).all()
        assert (after.phantom_rows() == before.phantom_rows()).all()
    assert len(list(less.folder.glob("0-rows-*"))) == 3


def test_the_sums_are_those_of_the_rows_that_are_left(index, tmp_path):
    less = without(index, {3, 7}, tmp_path)
    for track in less.tracks:
        rows = [values * scales[:, None].astype(np.float64) for values, scales in track.blocks()]
        expected = make_curvature("efim", rows, SKETCH.slices, 0.1).inverses
        for found, other in zip(track.curvature.inverses, expected, strict=True):
            assert np.array_equal(found, other)
    before = index.tracks[0].curvature.inverses
    assert not np.allclose(less.tracks[0].curvature.inverses[0], before[0])


def test_the_next_oldest_copy_stands_for_a_cluster_whose_first_record_is_gone(index, tmp_path):
    clusters = {r.record_id: r.cluster for r in without(index, {0, 4}, tmp_path).records}
    assert clusters[name(1)] == clusters[name(2)] == name(1)
    assert clusters[name(5)] == name(5)


def test_no_text_index_knows_its_words_any_more(index, tmp_path):
    less = without(index, {3}, tmp_path)
    words = index.lexical.words_of("question3 answer3 rare3")
    for half in HALVES:
        assert not set(words) & set(less.words(half).vocabulary)
        assert set(words) & set(index.words(half).vocabulary)
    assert not less.lexical.scores("rare3").any()
    assert len(less.lexical_prompts.scores("question4")) == COUNT - 1 + PHANTOMS
    assert less.lexical_prompts.scores("phantom2").argmax() == COUNT - 1 + 2
    fresh = LexicalIndex.from_texts(
        [f"{texts(at).prompt} {texts(at).response}" for at in range(COUNT) if at != 3]
    )
    assert np.array_equal(less.lexical.scores("shared rare9"), fresh.scores("shared rare9"))


@pytest.mark.parametrize("count", [1, 7, 13])
def test_adding_records_and_taking_them_away_gives_the_very_same_files(tmp_path, count):
    small = built(tmp_path / "small", COUNT - count)
    more = range(COUNT - count, COUNT)
    append_records(
        small,
        tmp_path / "index",
        records=[record(at) for at in more],
        rows=[rows[COUNT - count :] for rows in ROWS],
        texts=[texts(at) for at in more],
    )
    larger = AttributionIndex(tmp_path / "index")
    assert len(larger) == COUNT
    assert larger.tracks[1].rows().shape == (COUNT, 24)
    assert larger.lexical.scores(f"rare{COUNT - 1}").argmax() == COUNT - 1
    assert files_of(without(larger, more, tmp_path)) == files_of(small)


def test_withdrawing_one_after_the_other_is_withdrawing_both(index, tmp_path):
    both = without(index, {2, 11}, tmp_path)
    one = without(index, {2}, tmp_path / "one")
    then = without(one, {11}, tmp_path / "two")
    assert files_of(both) == files_of(then)
    assert then.follows == {index.digest: "withdrawal", one.digest: "withdrawal"}


def test_an_index_of_withdrawn_records_only_is_refused_and_leaves_nothing(index, tmp_path):
    with pytest.raises(NothingLeftError):
        without(index, range(COUNT), tmp_path)
    assert not list(tmp_path.glob("*less*"))


def test_a_record_id_that_is_there_already_is_refused(index, tmp_path):
    with pytest.raises(ValueError, match="twice"):
        append_records(
            index,
            tmp_path / "more",
            records=[record(3)],
            rows=[rows[:1] for rows in ROWS],
            texts=[texts(3)],
        )
    assert not list(tmp_path.glob("*more*"))


# The calibration


SIGNS = np.where(RANDOM.integers(0, 2, (16, COUNT)), 1, -1).astype(np.int8)
GUESSED = np.where(RANDOM.integers(0, 2, (16, PHANTOMS)), 1, -1).astype(np.int8)


def calibrated(index, folder, **changes) -> Calibration:
    write_calibration(
        folder,
        identity=CalibrationIdentity(
            "a" * 64, index.digest, signal_names(index), tuple(f"{at:064x}" for at in range(16))
        ),
        weights=WEIGHTS,
        gate_per_mille=1200,
        design=Design(SIGNS, GUESSED),
        record_ids=[name(at) for at in range(COUNT)],
        fidelity={"pays": True, "records": COUNT},
        **changes,
    )
    return Calibration(folder)


def test_a_calibration_loses_the_columns_of_withdrawn_records_and_says_how_many(index, tmp_path):
    calibration = calibrated(index, tmp_path / "calibration")
    less = without(index, {0, 12}, tmp_path)
    digest = calibration_for(less, calibration, tmp_path / "fewer")
    found = Calibration(tmp_path / "fewer")
    assert (found.digest, found.identity.index_digest) == (digest, less.digest)
    assert (found.design.records == np.delete(SIGNS, [0, 12], axis=1)).all()
    assert (found.design.phantoms == GUESSED).all()
    assert (found.weights, found.gate_per_mille) == (WEIGHTS, 1200)
    assert found.fidelity == {"pays": True, "records": COUNT, "withdrawn": 2}
    assert b"record-12" not in (tmp_path / "fewer" / "ids.json").read_bytes()


def test_a_calibration_of_other_records_is_not_bent_to_fit(index, tmp_path):
    calibration = calibrated(index, tmp_path / "calibration")
    append_records(
        index, tmp_path / "more", records=[IndexRecord("new", "new")],
        rows=[rows[:1] for rows in ROWS], texts=[texts(99)],
    )  # fmt: skip
    assert calibration_for(AttributionIndex(tmp_path / "more"), calibration, tmp_path / "x") is None
    assert not (tmp_path / "x").exists()


# Damage


def test_a_folder_kept_open_is_read_again_when_a_file_of_it_changes(index):
    kept = OpenFolders(AttributionIndex, 2)
    assert kept.get(index.folder) is kept.get(index.folder)
    shard = index.folder / "1-rows-00001.int8"
    flip(shard)
    with pytest.raises(IndexDamagedError, match="1-rows-00001"):
        kept.get(index.folder)


def test_even_a_change_that_no_time_tells_of_is_found_in_the_end(index, monkeypatch):
    kept = OpenFolders(AttributionIndex, 2)
    kept.get(index.folder)
    shard = index.folder / "0-rows-00000.int8"
    before = shard.stat()
    flip(shard)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    kept.get(index.folder)
    monkeypatch.setattr(opened, "CHECK_AGAIN_SECONDS", -1.0)
    with pytest.raises(IndexDamagedError, match="0-rows-00000"):
        kept.get(index.folder)


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    with path.open("r+b") as stream:
        stream.write(content)


def test_the_manifest_says_what_the_index_was_made_from(index, tmp_path):
    less = without(index, {1}, tmp_path)
    manifest = json.loads((less.folder / "manifest.json").read_text())
    assert manifest["follows"] == {index.digest: "withdrawal"}
    assert index.follows == {}
