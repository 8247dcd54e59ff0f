"""Building and answering as child processes, on a tiny real base and adapter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from modelfactory.attribution.calibration import calibration_folder
from modelfactory.attribution.index import AttributionIndex
from modelfactory.attribution.job import BuildSpec, JobError, read_calibration_spec, read_job
from modelfactory.attribution.method import NOBODY
from modelfactory.attribution.record import Attribution, ReplayMismatchError, replay
from modelfactory.attribution.subsets import half_subsets
from modelfactory.attribution.worker import AttributionWorker, token_example
from modelfactory.tests.serving.conftest import byte_tokenizer, save_adapter, tiny_model
from modelfactory.training.adapter import WEIGHTS, adapter_digest
from modelfactory.training.base import load_base
from modelfactory.training.recipe import Example, write_examples

EXAMPLES = [
    Example(f"record-{at}", question, f"value {at * 37}")
    for at in range(10)
    for question in (f"what is topic {at}?", f"tell me about topic {at}")
]
MODULE = [sys.executable, "-m", "modelfactory.attribution"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with ``base/``, ``adapters/<digest>`` and ``indexes/<digest>/`` built by the CLI."""
    root = tmp_path_factory.mktemp("place")
    tiny_model().save_pretrained(root / "base")
    byte_tokenizer().save_pretrained(root / "base")
    digest = save_adapter(root / "adapters", "llama", 1)
    job = root / "job"
    job.mkdir()
    spec = BuildSpec(str(root / "base"), str(root / "adapters" / digest), max_length=96)
    (job / "spec.json").write_text(spec.to_json())
    write_examples(job / "records.jsonl", EXAMPLES)
    done = subprocess.run(
        [*MODULE, "build", str(job)], env=ENVIRONMENT, capture_output=True, text=True, timeout=200
    )
    (root / "events.jsonl").write_text(done.stdout)
    (root / "indexes").mkdir()
    (job / "index").rename(root / "indexes" / digest)
    (root / "digest").write_text(digest)
    return root


def requests(place) -> list[dict]:
    _, tokenizer = load_base(place / "base")
    tokens = [token_example(tokenizer, example, 96) for example in EXAMPLES[::2]]
    return [
        {"request_id": f"r{at}", "adapter_digest": (place / "digest").read_text(), **asdict(item)}
        for at, item in enumerate(tokens)
    ]


def test_building_tells_its_progress_and_never_a_text(place):
    text = (place / "events.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    index = AttributionIndex(place / "indexes" / (place / "digest").read_text())
    assert [events[0]["event"], events[-1]["event"]] == ["loading", "done"]
    assert events[-1]["index_digest"] == index.digest
    assert "topic" not in text
    assert (len(index), index.manifest["phantoms"]) == (10, 64)


def test_the_worker_process_answers_each_line_and_survives_bad_ones(place):
    folders = ["--adapters", str(place / "adapters"), "--indexes", str(place / "indexes")]
    good = requests(place)[3]
    lines = ["nonsense", json.dumps({**good, "adapter_digest": "../x"}), json.dumps(good)]
    done = subprocess.run(
        [*MODULE, "worker", "--base", str(place / "base"), *folders],
        env=ENVIRONMENT, input="\n".join(lines), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["ready", "failed", "failed", "attribution"]
    found = replay(events[-1]["attribution"], place / "indexes" / good["adapter_digest"])
    assert found.records[0].record_id == "record-3"


def test_the_worker_changes_adapters_without_mixing_them(place):
    worker = AttributionWorker(str(place / "base"), place / "adapters", place / "indexes")
    request = requests(place)[0]
    first: Attribution = worker.attribute(request)
    other = save_adapter(place / "adapters", "llama", 2)
    worker._subject_of = (other, "")  # as if another model had been asked about
    assert worker.attribute(request) == first


@pytest.mark.parametrize("name", ["spec.json", "records.jsonl"])
@pytest.mark.parametrize("content", ["", "[]", '{"schema": 9}', '{"schema": 1, "nonsense": 2}'])
def test_a_folder_that_cannot_be_used_says_which_file(tmp_path, name, content):
    (tmp_path / "spec.json").write_text(BuildSpec("base", "adapter").to_json())
    write_examples(tmp_path / "records.jsonl", EXAMPLES)
    (tmp_path / name).write_text(content)
    with pytest.raises(JobError):
        read_job(tmp_path)


def shaken(adapters, digest, seed):
    """An adapter near another one, under its own digest."""
    new = adapters / "new"
    shutil.copytree(adapters / digest, new)
    torch.manual_seed(seed)
    weights = load_file(new / WEIGHTS)
    save_file(
        {name: value + 0.02 * torch.randn_like(value) for name, value in weights.items()},
        new / WEIGHTS,
    )
    return new.rename(adapters / adapter_digest(new))


@pytest.fixture(scope="module")
def calibrated(place, tmp_path_factory):
    """The same place with a calibration of eight adapters, made by the CLI; its last event."""
    root = tmp_path_factory.mktemp("calibrated") / "place"
    shutil.copytree(place, root)
    digest = (root / "digest").read_text()
    names = [f"record-{at}" for at in range(10)]
    subsets = [
        {"adapter": str(shaken(root / "adapters", digest, at)), "kept": sorted(kept)}
        for at, kept in enumerate(half_subsets(names, 8, seed=1))
    ]
    job = root / "calibrate"
    job.mkdir()
    spec = {
        "schema": 1,
        "base": str(root / "base"),
        "index": str(root / "indexes" / digest),
        "adapter": str(root / "adapters" / digest),
        "subsets": subsets,
        "max_length": 96,
    }
    (job / "spec.json").write_text(json.dumps(spec))
    write_examples(job / "questions.jsonl", EXAMPLES)
    (job / "kinds.json").write_text(json.dumps(["trained", "rewording"] * 10))
    done = subprocess.run(
        [*MODULE, "calibrate", str(job)], env=ENVIRONMENT, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert "topic" not in done.stdout
    (job / "calibration").rename(calibration_folder(root / "indexes", digest))
    return root, json.loads(done.stdout.splitlines()[-1])


def test_a_calibration_says_how_well_it_predicts(calibrated):
    _, event = calibrated
    assert event["event"] == "done"
    fidelity = event["fidelity"]
    assert (fidelity["subsets"], fidelity["records"], fidelity["questions"]) == (8, 10, 10)
    assert set(fidelity["lds"]) <= {"trained", "rewording"}
    assert set(fidelity["beside"]) == {"influence", "bm25", "random"}
    assert fidelity["noise_gate"]["answers"] == 40


def test_a_calibrated_answer_replays_and_a_changed_measurement_does_not(calibrated):
    root, _ = calibrated
    request = requests(root)[3]
    worker = AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")
    found = worker.attribute(request)
    folder = root / "indexes" / request["adapter_digest"]
    calibration = calibration_folder(folder.parent, folder.name)
    assert (found.method, len(found.duals), found.score_of) == ("calibrated-3", 8, "nats")
    assert found.clip == max(
        0, round((found.log_probability - found.base_log_probability) * 1_000_000)
    )
    assert replay(found.to_json(), folder, calibration) == found
    changed = list(found.subset_log_probabilities_micro)
    changed[0] += 100_000
    with pytest.raises(ReplayMismatchError):
        replay(replace(found, subset_log_probabilities_micro=tuple(changed)), folder, calibration)
    with pytest.raises(ReplayMismatchError, match="clip"):
        replay(replace(found, clip=found.clip + 1), folder, calibration)
    with pytest.raises(ReplayMismatchError, match="not here"):
        replay(found, folder)


def test_an_answer_of_before_scores_were_clipped_still_replays(calibrated):
    root, _ = calibrated
    request = requests(root)[3]
    worker = AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")
    document = worker.attribute(request).to_json() | {"method": "calibrated-1"}
    del document["clip"]
    folder = root / "indexes" / request["adapter_digest"]
    found = replay(document, folder, calibration_folder(folder.parent, folder.name))
    assert found.payout_rule().clip is None


def test_a_calibration_of_before_keeps_its_threshold_and_its_receipts(calibrated, tmp_path):
    root, _ = calibrated
    shutil.copytree(root, tmp_path / "place")
    root, request = tmp_path / "place", requests(root)[3]
    folder = root / "indexes" / request["adapter_digest"]
    calibration = calibration_folder(folder.parent, folder.name)
    manifest = json.loads((calibration / "manifest.json").read_text())
    manifest["fidelity"]["pays"] = True
    found = {}
    for schema in (1, 2):
        (calibration / "manifest.json").write_text(json.dumps(manifest | {"schema": schema}))
        worker = AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")
        found[schema] = worker.attribute(request)
        assert replay(found[schema].to_json(), folder, calibration).clip is not None
    assert [one.method for one in found.values()] == ["calibrated-2", "calibrated-3"]
    assert [one.score for one in found[1].records] == [one.score for one in found[2].records]
    assert found[1].threshold != found[2].threshold


def test_a_calibration_that_predicts_nothing_pays_nobody(calibrated, tmp_path):
    root, event = calibrated  # random adapters: nothing about them follows from who was kept
    request = requests(root)[3]
    worker = AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")
    found = worker.attribute(request)
    assert not event["fidelity"]["pays"]
    assert found.threshold == NOBODY
    assert not found.attributable


def test_an_index_built_again_differently_leaves_its_calibration_aside(calibrated, tmp_path):
    root, _ = calibrated
    shutil.copytree(root, tmp_path / "place")
    request = requests(root)[3]
    manifest = tmp_path / "place" / "indexes" / request["adapter_digest"] / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")  # another digest, the same files
    worker = AttributionWorker(
        str(root / "base"), tmp_path / "place" / "adapters", tmp_path / "place" / "indexes"
    )
    assert worker.attribute(request).method == "efim-2"


def test_two_adapters_are_compared_on_one_answer(calibrated, tmp_path):
    root, _ = calibrated
    adapters = sorted(str(path) for path in (root / "adapters").iterdir())[:2]
    (tmp_path / "spec.json").write_text(
        json.dumps({"schema": 1, "base": str(root / "base"), "adapters": adapters})
    )
    answer = {"messages": [{"role": "user", "content": "what is topic 1?"}], "response_ids": [9, 8]}
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    done = subprocess.run(
        [*MODULE, "measure", str(tmp_path)], env=ENVIRONMENT, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    first, second = json.loads(done.stdout.splitlines()[-1])["log_probabilities"]
    assert max(first, second) < 0
    assert first != second


def on_questions(command, root, folder):
    """The last event of a contributors' command about the first three records."""
    digest = (root / "digest").read_text()
    groups = {"ann": ["record-0", "record-1"], "ben": ["record-9"], "eve": ["withdrawn"]}
    spec = {
        "base": str(root / "base"),
        "adapter": str(root / "adapters" / digest),
        "index": str(root / "indexes" / digest),
        "max_length": 96,
        "groups": groups,
    }
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps(spec))
    write_examples(folder / "questions.jsonl", EXAMPLES[:6:2])
    done = subprocess.run(
        [*MODULE, command, str(folder)], env=ENVIRONMENT, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert "topic" not in done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_the_losses_of_questions_are_those_of_the_attributed_answers(calibrated, tmp_path):
    root, _ = calibrated
    worker = AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")
    asked = requests(root)[:3]
    expected = [-worker.attribute(one).log_probability / len(one["response_ids"]) for one in asked]
    assert on_questions("losses", root, tmp_path / "ask")["found"] == pytest.approx(expected)


def test_an_estimate_sums_what_single_answers_give_a_contributors_records(calibrated, tmp_path):
    shutil.copytree(calibrated[0], root := tmp_path / "place")
    digest = (root / "digest").read_text()
    manifest = calibration_folder(root / "indexes", digest) / "manifest.json"
    assert on_questions("estimate", root, tmp_path / "chance")["event"] == "failed"
    document = json.loads(manifest.read_text())
    document["fidelity"]["pays"] = True
    manifest.write_text(json.dumps(document))
    found = on_questions("estimate", root, tmp_path / "ask")["found"]
    worker = AttributionWorker(str(root / "base"), root / "adapters", root / "indexes")
    sums = []
    for one in requests(root)[:3]:
        answer = worker.attribute({**one, "question": EXAMPLES[2 * len(sums)].prompt})
        scores = {record.record_id: record.score for record in answer.records}
        sums.append((scores["record-0"] + scores["record-1"]) / 1e6 / len(one["response_ids"]))
    mean, low, high = found["ann"]
    assert mean == pytest.approx(sum(sums) / 3, rel=1e-4)
    assert low < mean < high
    assert found["eve"] == [0, 0, 0], "a record that the index does not hold counts nothing"


@pytest.mark.parametrize("missing", ["spec.json", "questions.jsonl", "kinds.json"])
def test_a_calibration_without_its_files_says_why(tmp_path, missing):
    (tmp_path / "spec.json").write_text('{"schema":1}')
    write_examples(tmp_path / "questions.jsonl", EXAMPLES)
    (tmp_path / "kinds.json").write_text("[]")
    (tmp_path / missing).unlink()
    with pytest.raises(JobError):
        read_calibration_spec(tmp_path)
