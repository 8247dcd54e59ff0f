"""Building and answering as child processes, on a tiny real base and adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from modelfactory.attribution.index import AttributionIndex
from modelfactory.attribution.job import BuildSpec, JobError, read_job
from modelfactory.attribution.record import Attribution, replay
from modelfactory.attribution.worker import AttributionWorker, token_example
from modelfactory.tests.serving.conftest import byte_tokenizer, save_adapter, tiny_model
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
    worker._adapted(other)
    assert worker.attribute(request) == first


@pytest.mark.parametrize("name", ["spec.json", "records.jsonl"])
@pytest.mark.parametrize("content", ["", "[]", '{"schema": 9}', '{"schema": 1, "nonsense": 2}'])
def test_a_folder_that_cannot_be_used_says_which_file(tmp_path, name, content):
    (tmp_path / "spec.json").write_text(BuildSpec("base", "adapter").to_json())
    write_examples(tmp_path / "records.jsonl", EXAMPLES)
    (tmp_path / name).write_text(content)
    with pytest.raises(JobError):
        read_job(tmp_path)
