from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from modelfactory.attribution.attribute import attribute
from modelfactory.attribution.index import AttributionIndex
from modelfactory.attribution.method import (
    CALIBRATED,
    UNCALIBRATED,
    MethodParameters,
    Scores,
    clip_of,
    nearest_rank,
)
from modelfactory.attribution.record import (
    Attribution,
    ReplayMismatchError,
    StoredSketch,
    rank,
    replay,
)
from modelfactory.attribution.shares import compute_shares
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.attribution.subjects import Subject
from modelfactory.tests.attribution.conftest import WordTokenizer, example, tiny_peft_model
from modelfactory.tests.attribution.test_index import build

TORCH_FREE_REPLAY = """
import json, sys, pathlib
from modelfactory.attribution.record import replay
from modelfactory.attribution import shares, lexical, duplicates, phantoms
found = replay(json.load(open(sys.argv[1])), pathlib.Path(sys.argv[2]))
assert not {"torch", "transformers", "peft", "django"} & set(sys.modules), sorted(sys.modules)
print(found.threshold)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, records, phantoms):
    place = tmp_path_factory.mktemp("index") / "index"
    build(place, model, records, phantoms)
    return place


@pytest.fixture(scope="module")
def subject(tmp_path_factory, model) -> Subject:
    place = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(place)
    return Subject(tiny_peft_model().unload(), StackedAdapters([place]))


def attribute_record(subject, folder, item, **options) -> Attribution:
    index = AttributionIndex(folder)
    return attribute(
        subject,
        WordTokenizer(),
        index,
        item.prompt_ids,
        item.response_ids,
        question="topic5",
        **options,
    )


@pytest.fixture(scope="module")
def attribution(subject, folder, records):
    return attribute_record(subject, folder, records[5].examples[0])


def test_the_record_that_was_asked_comes_first_and_above_the_threshold(attribution):
    assert attribution.records[0].record_id == "record-05"
    assert attribution.records[0].score > attribution.threshold
    assert attribution.attributable


def test_its_cosine_with_itself_is_one(attribution):
    assert attribution.records[0].score * attribution.score_unit == pytest.approx(1, abs=0.02)


def test_bm25_stands_beside_the_score(attribution):
    lexical = {record.record_id: record.lexical_micro for record in attribution.records}
    assert max(lexical, key=lexical.__getitem__) == "record-05"


def test_it_says_what_the_adapter_changed(attribution):
    assert attribution.log_probability != pytest.approx(attribution.base_log_probability, abs=1e-4)


def test_it_replays_from_json_without_torch(tmp_path, attribution, folder):
    path = tmp_path / "attribution.json"
    path.write_text(json.dumps(attribution.to_json()))
    command = [sys.executable, "-c", TORCH_FREE_REPLAY, str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == attribution.threshold


def test_json_holds_no_integer_that_javascript_would_round(attribution):
    numbers = [attribution.threshold, *(record.score for record in attribution.records)]
    assert max(map(abs, numbers)) < 2**53


def tampered(attribution: Attribution) -> list[Attribution]:
    first, *others = attribution.records
    raised = replace(attribution, records=(replace(first, score=first.score + 1), *others))
    swapped = replace(attribution, records=(others[0], first, *others[1:]))
    return [
        raised,
        swapped,
        replace(attribution, threshold=attribution.threshold - 1),
        replace(attribution, index_digest="0" * 64),
        replace(attribution, method="other-1"),
    ]


@pytest.mark.parametrize("number", range(5))
def test_a_tampered_attribution_does_not_replay(attribution, folder, number):
    with pytest.raises(ReplayMismatchError):
        replay(tampered(attribution)[number], folder)


def test_a_malformed_document_is_a_value_error(attribution, folder):
    with pytest.raises(ValueError, match="malformed"):
        replay({"schema": 2, "method": "efim-2"}, folder)
    short = replace(attribution.query, sketches=(StoredSketch("AAAA", 1),))
    with pytest.raises(ValueError, match="query sketch"):
        replay(replace(attribution, query=short), folder)


def test_shares_of_an_attribution_go_to_the_owners_of_its_records(attribution, records):
    owners = {record.record_id: f"owner of {record.record_id}" for record in records}
    shares = compute_shares(attribution.record_scores(owners), attribution.payout_rule())
    assert max(shares.owner_parts, key=shares.owner_parts.__getitem__) == "owner of record-05"


def test_no_record_is_paid_for_more_than_the_adapter_gave_the_answer(attribution, records):
    owners = {record.record_id: record.record_id for record in records}
    best = attribution.records[0].score
    halved = replace(attribution, clip=(best + attribution.threshold) // 2)
    shares = compute_shares(halved.record_scores(owners), halved.payout_rule())
    whole = compute_shares(attribution.record_scores(owners), attribution.payout_rule())
    assert shares.owner_parts["record-05"] <= whole.owner_parts["record-05"]
    nothing = replace(attribution, clip=0)
    assert not nothing.attributable
    assert not compute_shares(nothing.record_scores(owners), nothing.payout_rule()).attributable


def test_the_clip_is_what_the_adapter_changed_and_cosines_have_none():
    assert clip_of(CALIBRATED, -1.5, -4.0) == 2_500_000
    assert clip_of(CALIBRATED, -4.0, -1.5) == 0
    assert clip_of(UNCALIBRATED, -1.5, -4.0) is None


def test_an_answer_that_scores_like_noise_has_no_attributable_source(subject, folder, phantoms):
    parameters = MethodParameters(threshold_per_mille=1000)
    found = attribute_record(subject, folder, phantoms[3].example, parameters=parameters)
    assert not found.attributable


def test_only_the_best_records_are_listed(subject, folder):
    found = attribute_record(
        subject, folder, example(77), parameters=MethodParameters(listed_records=3)
    )
    scores = [record.score for record in found.records]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert found.scored_records == 12


@pytest.mark.parametrize("count", [1, 3, 4, 7, 50])
def test_the_best_are_those_of_a_full_sort_and_ties_keep_the_order_of_rows(count):
    import numpy as np

    values = np.array([5, 9, 5, 9, -3, 5, 0], dtype=np.int64)
    ranking = rank(Scores(values, 0), MethodParameters(listed_records=count))
    assert ranking.positions == (1, 3, 0, 2, 5, 6, 4)[:count]


def test_the_percentile_is_the_nearest_rank():
    import numpy as np

    values = np.arange(1, 101)[::-1]
    assert [nearest_rank(values, cut) for cut in (1, 500, 990, 991, 1000)] == [1, 50, 99, 100, 100]
