"""Two processes check large uploads: they find what one finds, both locked in, neither stays."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from pathlib import Path

import psutil
import pytest

from datanets.checks import ChecksStopped, check_upload
from datanets.checks.shared_pass import ROWS_MIN
from datanets.parsing import parse_upload

WORDS = ("river", "bridge", "the", "of", "slow", "water", "größer", "tide", "hill", "and", "mill")
two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core has no second process"
)


def write(path: Path, count: int) -> Path:
    """Rows of which some are copies, answer differently, repeat themselves or hold an address."""
    drawn = random.Random(5)
    with path.open("w") as file:
        for at in range(count):
            answer = " ".join(drawn.choices(WORDS, k=drawn.randint(1, 60))) + "."
            question = f"What is number {drawn.randint(1, count)}?"
            if at % 700 == 9:
                question, answer = "What comes again?", "The mill by the slow river."
            if at % 500 == 7:
                answer += " Write to jane.doe@acme.com."
            file.write(json.dumps({"question": question, "answer": answer}) + "\n")
    return path


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", ROWS_MIN + 2_500)


def checking() -> list[psutil.Process]:
    """The checking child and its helper, in this order."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "datanets.checks.child" in process.cmdline():
                found.append(process)
    return found


def check(path: Path, **options):
    with parse_upload(path, path.name) as parsed, check_upload(parsed, **options) as checked:
        return list(checked.rows())


@two_cores
def test_two_processes_find_what_one_finds(upload):
    seen = []
    together = check(upload, on_progress=lambda *_: seen.append(len(checking())))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        alone = check(upload, on_progress=lambda *_: seen.append(-len(checking())))
    finally:
        os.sched_setaffinity(0, cores)
    assert together == alone
    assert {2, -1} <= set(seen)
    assert {"duplicate", "same_question"} <= {one.rule for row in alone for one in row.findings}
    assert sum(bool(row.personal_data) for row in alone) == 11


@two_cores
def test_the_helper_is_locked_in_like_the_child(upload):
    held: list[list[tuple[object, ...]]] = []

    def look(share: float, count: int) -> None:
        held.append([locks(process) for process in checking()])

    check(upload, on_progress=look)
    child, helper = held[0]
    assert child == helper
    network, user, seccomp, limits = helper
    assert seccomp == "2"
    assert (network != os.readlink("/proc/self/ns/net")) or os.geteuid() != 0
    assert user == ("65534" if os.geteuid() == 0 else str(os.geteuid()))
    assert limits == {"Max processes": "0", "Max address space": "1000000000"}


def locks(process: psutil.Process) -> tuple[object, ...]:
    folder = Path("/proc", str(process.pid))
    status = dict(
        line.split(":\t", 1)
        for line in (folder / "status").read_text().splitlines()
        if ":\t" in line
    )
    limits = {
        line[:26].strip(): line[26:].split()[0]
        for line in (folder / "limits").read_text().splitlines()
        if line.startswith(("Max processes", "Max address space"))
    }
    network = os.readlink(folder / "ns" / "net")
    return network, status["Uid"].split()[0], status["Seccomp"], limits


@two_cores
@pytest.mark.parametrize("which", [0, 1])
def test_the_end_of_either_process_is_the_end_of_both(upload, which):
    struck: list[psutil.Process] = []

    def strike(share: float, count: int) -> None:
        if not struck:
            struck.extend(checking())
            struck[which].send_signal(signal.SIGKILL)

    with pytest.raises(ChecksStopped):
        check(upload, on_progress=strike)
    assert len(struck) == 2
    assert psutil.wait_procs(struck, timeout=10)[1] == []


def test_few_rows_need_no_second_process(tmp_path):
    seen = []
    check(write(tmp_path / "rows.jsonl", 1_200), on_progress=lambda *_: seen.append(checking()))
    assert {len(processes) for processes in seen} == {1}
