"""`python -m modelfactory.training` as its supervisor sees it: events, kill -9, SIGTERM, death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig

from modelfactory.tests.training.tiny import EXAMPLES, save_tiny_base
from modelfactory.training.recipe import Recipe, write_examples

DEADLINE_SECONDS = 240


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    return save_tiny_base(tmp_path_factory.mktemp("process") / "base", config)


@pytest.fixture
def folder(base, tmp_path):
    return prepared(tmp_path / "run", base)


def prepared(folder, base, epochs=60):
    folder.mkdir()
    recipe = Recipe(
        base=str(base), rank=4, alpha=8, epochs=epochs, batch_size=2, checkpoint_every_steps=5
    )
    (folder / "recipe.json").write_text(recipe.to_json())
    write_examples(folder / "examples.jsonl", EXAMPLES)
    write_examples(folder / "evaluation.jsonl", EXAMPLES[:2])
    return folder


def command(folder):
    return [sys.executable, "-m", "modelfactory.training", str(folder)]


def start(folder):
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True, env=one_thread)


def read_until(process, wanted):
    """Events up to and with the first that `wanted` accepts."""
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if wanted(events[-1]):
            return events
    raise AssertionError(f"the process ended after {events[-1:]}")


def checkpoint_after(step):
    return lambda event: event["event"] == "checkpoint" and event["step"] >= step


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    folder = prepared(tmp_path_factory.mktemp("whole") / "run", base)
    said = start(folder).communicate(timeout=DEADLINE_SECONDS)[0]
    return folder, [json.loads(line) for line in said.splitlines()], said


def test_a_run_killed_in_its_middle_ends_with_the_same_adapter(folder, whole):
    process = start(folder)
    read_until(process, checkpoint_after(60))
    process.kill()
    process.wait()
    again = start(folder)
    resumed = read_until(again, lambda event: event["event"] == "resumed")[-1]
    assert resumed["step"] >= 60
    read_until(again, lambda event: event["event"] == "done")
    expected = load_file(whole[0] / "adapter" / "adapter_model.safetensors")
    for name, weights in load_file(folder / "adapter" / "adapter_model.safetensors").items():
        assert torch.allclose(weights, expected[name], atol=1e-6), name


def test_a_run_says_what_it_does_and_never_what_it_reads(whole):
    folder, events, said = whole
    assert [events[0]["event"], events[-1]["event"]] == ["loading", "done"]
    assert {event["event"] for event in events} >= {"step", "checkpoint", "evaluated"}
    assert "Velmoria" not in said
    result = json.loads((folder / "result.json").read_text())
    assert result["adapter_digest"] == events[-1]["adapter_digest"]
    assert len((folder / "evaluation_result.jsonl").read_text().splitlines()) == 2


def test_sigterm_saves_the_step_and_stops_at_once(folder):
    process = start(folder)
    read_until(process, checkpoint_after(5))
    before = psutil.Process(process.pid).cpu_times()
    process.send_signal(signal.SIGTERM)
    events = read_until(process, lambda event: event["event"] == "stopped")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 128 + signal.SIGTERM
    # Of the processor's time: the clock on the wall also runs for those who share the machine. A
    # step takes a fraction of a second and torch's own end about one; the whole run takes minutes.
    assert used.ru_utime + used.ru_stime - before.user - before.system < 3
    assert (folder / "checkpoints" / f"step-{events[-1]['step']}" / "manifest.json").exists()


def test_a_run_ends_when_its_supervisor_dies(folder):
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({command(folder)!r}, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\ntime.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(supervisor.stdout.readline())
    wait_for(lambda: list(folder.glob("checkpoints/step-*")))
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not alive(child))


def test_a_bad_recipe_ends_the_process_with_a_named_failure(folder):
    (folder / "recipe.json").write_text('{"schema":1,"base":"b","rank":0}')
    process = start(folder)
    events = read_until(process, lambda event: event["event"] == "failed")
    assert "rank" in events[-1]["message"]
    assert process.wait(DEADLINE_SECONDS) == 2


def alive(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
