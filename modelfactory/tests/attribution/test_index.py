from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest

from modelfactory.attribution.build import IndexSettings, RecordExamples, build_index
from modelfactory.attribution.index import (
    COSINE_BITS,
    AttributionIndex,
    IndexDamagedError,
    Texts,
    exact_dots,
)
from modelfactory.attribution.influence import score
from modelfactory.tests.attribution.conftest import tiny_peft_model

SETTINGS = IndexSettings(dimensions=600, seed=7, batch_size=4)
DIGESTS = {"base_digest": "b" * 64, "adapter_digest": "a" * 64}


def build(folder, model, records, phantoms, settings=SETTINGS) -> str:
    return build_index(folder, model, records, phantoms, settings=settings, **DIGESTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, records, phantoms):
    place = tmp_path_factory.mktemp("index") / "index"
    build(place, model, records, phantoms)
    return place


@pytest.fixture(scope="module")
def index(folder):
    return AttributionIndex(folder)


@pytest.fixture
def query(index):
    return np.random.default_rng(3).normal(size=index.sketch.dimensions).astype(np.float32)


def test_building_twice_gives_the_same_digest(tmp_path, index, model, records, phantoms):
    assert build(tmp_path / "again", model, records, phantoms) == index.digest


def test_another_seed_gives_another_digest(tmp_path, index, model, records, phantoms):
    other = IndexSettings(dimensions=600, seed=8, batch_size=4)
    assert build(tmp_path / "again", model, records, phantoms, other) != index.digest


def test_the_digest_is_that_of_the_manifest(folder, index):
    assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() == index.digest


@pytest.fixture
def track(index):
    return index.tracks[0]


def test_integer_scores_are_the_float_cosines_of_the_same_rows(index, track, query):
    balance = np.repeat(
        index.manifest["tracks"][0]["balance"], [m.dimensions for m in index.sketch.modules]
    )
    expected = score(query / balance, track.rows(), track.curvature)
    found = track.scan(track.quantise_query(query)) / (1 << COSINE_BITS)
    assert np.abs(found - expected).max() < 1e-3


def test_the_fast_scan_equals_plain_integer_arithmetic(track, query):
    values = track.quantise_query(query).values
    dots = track.rows().astype(object) @ values.astype(object)
    assert exact_dots(track.rows(), values).tolist() == dots.tolist()


def test_every_track_has_rows_of_its_own(tmp_path, records, phantoms):
    both = tiny_peft_model(1)
    both.add_adapter("earlier", both.peft_config["default"])
    tracks = {"default": "a" * 64, "earlier": "e" * 64}
    build_index(
        tmp_path / "index", both, records, phantoms, settings=SETTINGS, tracks=tracks, **DIGESTS
    )
    found = AttributionIndex(tmp_path / "index")
    assert found.identity.tracks == ("a" * 64, "e" * 64)
    first, second = (track.rows() for track in found.tracks)
    assert first.shape == second.shape
    assert (first != second).any()


def test_the_largest_possible_score_fits_in_sixty_three_bits():
    assert 127 * 32_768 * 65_536 * (1 << 24) < 2**63


def test_a_record_scores_highest_on_its_own_gradient(index, track, model, records):
    from modelfactory.attribution.gradients import record_gradients

    for at, record in enumerate(records):
        gradients = record_gradients(model, record.examples).modules
        named = {name: g.numpy() for name, g in gradients.items()}
        sketched = track.projection.project(named)[0]
        assert track.scan(track.ask(sketched)).argmax() == at


def test_a_zero_gradient_scores_nothing(index, track):
    quantised = track.quantise_query(np.zeros(index.sketch.dimensions, dtype=np.float32))
    assert not track.scan(quantised).any()


@pytest.mark.parametrize("name", ["0-rows-00000.int8", "0-multipliers.npy", "records.json"])
def test_a_changed_file_is_found(tmp_path, model, records, phantoms, name):
    build(tmp_path / "index", model, records, phantoms)
    path = tmp_path / "index" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IndexDamagedError, match=name):
        AttributionIndex(tmp_path / "index")


def test_a_bit_that_flips_anywhere_in_the_manifest_is_damage_and_nothing_else(folder, tmp_path):
    """In a name too: whoever asks mends an index only where it is said to be damaged."""
    folder = shutil.copytree(folder, tmp_path / "index")
    path = folder / "manifest.json"
    whole = path.read_bytes()
    said = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            AttributionIndex(folder, verify=False)
        except IndexDamagedError:
            said += 1
    assert said > len(whole) // 30
    path.write_bytes(b"[]")
    with pytest.raises(IndexDamagedError):
        AttributionIndex(folder)


def test_a_folder_without_a_manifest_is_not_an_index(tmp_path):
    with pytest.raises(IndexDamagedError, match="manifest"):
        AttributionIndex(tmp_path)


def test_the_folder_holds_no_text_of_the_records(folder):
    assert not any(b"topic3" in path.read_bytes() for path in folder.iterdir())


def test_lexical_scores_find_the_text(index):
    assert index.lexical.scores("what means topic7?").argmax() == 7
    assert index.lexical_responses.scores("value4").argmax() == 4
    assert index.lexical_prompts.scores("phantom3").argmax() == len(index) + 3


def test_copies_share_the_cluster_of_the_oldest_row(tmp_path, model, records, phantoms):
    original = records[2]
    texts = Texts(original.texts.prompt, original.texts.response + "!")
    copy = RecordExamples("copy", texts, original.examples)
    build(tmp_path / "index", model, [*records, copy], phantoms)
    assert AttributionIndex(tmp_path / "index").records[-1].cluster == records[2].record_id


def test_a_record_is_the_mean_of_its_wordings(tmp_path, model, records, phantoms):
    doubled = [RecordExamples(r.record_id, r.texts, r.examples * 2) for r in records]
    build(tmp_path / "index", model, doubled, phantoms)
    build(tmp_path / "single", model, records, phantoms)
    names = ("index", "single")
    both = [AttributionIndex(tmp_path / name).tracks[0].rows().astype(int) for name in names]
    assert np.abs(both[0] - both[1]).max() <= 1


def test_an_index_without_phantoms_is_refused(tmp_path, model, records, phantoms):
    with pytest.raises(ValueError, match="phantoms"):
        build(tmp_path / "index", model, records, phantoms[:7])
    assert not list(tmp_path.iterdir())
