from __future__ import annotations

import hashlib

import numpy as np
import pytest

from modelfactory.attribution.build import IndexSettings, RecordExamples, build_index
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError
from modelfactory.attribution.influence import score

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


def test_integer_scores_are_the_float_cosines_of_the_same_rows(index, query):
    quantised = index.quantise_query(query)
    balance = np.repeat(index.manifest["balance"], [m.dimensions for m in index.sketch.modules])
    expected = score(query / balance, index.rows(), index.curvature)
    found = index.scan(quantised.values) * index.score_unit(quantised)
    assert np.abs(found - expected).max() < 1e-3


def test_the_fast_scan_equals_plain_integer_arithmetic(index, query):
    values = index.quantise_query(query).values
    dots = index.rows().astype(object) @ values.astype(object)
    multipliers = np.load(index.folder / "multipliers.npy").astype(object)
    assert index.scan(values).tolist() == [
        int(d * m) >> 24 for d, m in zip(dots, multipliers, strict=True)
    ]


def test_the_largest_possible_score_fits_in_sixty_three_bits():
    assert 127 * 32_768 * 65_536 * (1 << 24) < 2**63


def test_a_record_scores_highest_on_its_own_gradient(index, model, records):
    from modelfactory.attribution.gradients import record_gradients

    for at, record in enumerate(records):
        gradients = record_gradients(model, record.examples).modules
        sketched = index.sketch.project({name: g.numpy() for name, g in gradients.items()})[0]
        assert index.scan(index.quantise_query(sketched).values).argmax() == at


def test_a_zero_gradient_scores_nothing(index):
    quantised = index.quantise_query(np.zeros(index.sketch.dimensions, dtype=np.float32))
    assert not index.scan(quantised.values).any()


@pytest.mark.parametrize("name", ["rows-00000.int8", "multipliers.npy", "records.json"])
def test_a_changed_file_is_found(tmp_path, model, records, phantoms, name):
    build(tmp_path / "index", model, records, phantoms)
    path = tmp_path / "index" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IndexDamagedError, match=name):
        AttributionIndex(tmp_path / "index")


def test_a_folder_without_a_manifest_is_not_an_index(tmp_path):
    with pytest.raises(IndexDamagedError, match="manifest"):
        AttributionIndex(tmp_path)


def test_the_folder_holds_no_text_of_the_records(folder):
    assert not any(b"topic3" in path.read_bytes() for path in folder.iterdir())


def test_lexical_scores_find_the_text(index):
    assert index.lexical.scores("what means topic7?").argmax() == 7


def test_copies_share_the_cluster_of_the_oldest_row(tmp_path, model, records, phantoms):
    copy = RecordExamples("copy", records[2].text + "!", records[2].examples)
    build(tmp_path / "index", model, [*records, copy], phantoms)
    assert AttributionIndex(tmp_path / "index").records[-1].cluster == records[2].record_id


def test_a_record_is_the_mean_of_its_wordings(tmp_path, model, records, phantoms):
    doubled = [RecordExamples(r.record_id, r.text, r.examples * 2) for r in records]
    build(tmp_path / "index", model, doubled, phantoms)
    build(tmp_path / "single", model, records, phantoms)
    both = [AttributionIndex(tmp_path / name).rows().astype(int) for name in ("index", "single")]
    assert np.abs(both[0] - both[1]).max() <= 1


def test_an_index_without_phantoms_is_refused(tmp_path, model, records, phantoms):
    with pytest.raises(ValueError, match="phantoms"):
        build(tmp_path / "index", model, records, phantoms[:7])
    assert not list(tmp_path.iterdir())
