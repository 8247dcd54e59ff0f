"""The engine as a process: started from a shell, ended by a signal or with its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from modelfactory.serving.client import EngineClient
from modelfactory.serving.engine import EngineUnavailableError
from modelfactory.tests.serving.conftest import ask, byte_tokenizer, tiny_model, tokens_of
from modelfactory.training.base_files import base_digest

ENVIRONMENT = {**os.environ, "ENGINE_TOKEN": "a token", "OMP_NUM_THREADS": "1"}
# A parent that starts the engine, passes its ready line on, and is then killed.
PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def start(base, adapters_root):
    started = []

    def run(*before: str) -> tuple[subprocess.Popen, dict]:
        command = [sys.executable, "-m", "modelfactory.serving", "--base", str(base)]
        command = [*before, *command, "--adapters", str(adapters_root)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def has_ended(ready: dict) -> bool:
    try:
        EngineClient(ready["address"], "a token").health_sync()
    except EngineUnavailableError:
        return True
    return False


def test_it_answers_with_an_adapter_and_ends_cleanly_on_sigterm(start, base, adapters):
    process, ready = start()
    client = EngineClient(ready["address"], "a token")
    events = list(client.generate_sync(ask("r", adapter=adapters[0], max_tokens=4)))
    assert tokens_of(events)
    assert client.health_sync().base_digest == base_digest(base)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    assert has_ended(ready)


def test_it_ends_with_its_parent(start):
    parent, ready = start(sys.executable, "-c", PARENT)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while not has_ended(ready):
        assert time.monotonic() < deadline, "the engine outlived its parent"
        time.sleep(0.05)


def test_it_does_not_start_without_a_token(base):
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "ENGINE_TOKEN"}
    command = [sys.executable, "-m", "modelfactory.serving", "--base", str(base), "--adapters", "."]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "ENGINE_TOKEN" in done.stderr
