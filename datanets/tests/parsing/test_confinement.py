"""What the child cannot do, and what becomes of it when it is killed, late or alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from datanets.parsing import Limits, ParseResult, parse_upload
from datanets.tests.parsing.conftest import Parse, refused, rows_of

ROOT = Path(__file__).resolve().parents[3]

ROWS = 150_000  # about two seconds of reading

# Run in a fresh process: locks itself in as the child does, then tries to get out.
ESCAPE = """
import errno, os, socket, subprocess, sys
from datanets.parsing import Limits, confine
os.setresuid(*[int(sys.argv[1])] * 3)
confine.limit_resources(Limits())
held = confine.leave_network() + confine.lock(os.getppid())
def tried(act):
    try:
        act()
    except MemoryError:
        return "refused"
    except OSError as error:
        return "refused" if error.errno in (errno.EPERM, errno.EAGAIN) else f"error {error}"
    return "done"
print(tried(lambda: socket.socket()), tried(lambda: open("/etc/passwd")),
      tried(lambda: open("new", "w")), tried(os.fork), tried(lambda: subprocess.run(["/bin/true"])),
      tried(lambda: bytearray(1_100_000_000)), tried(lambda: os.kill(os.getppid(), 0)))
"""


@pytest.mark.parametrize(
    "user", sorted({os.geteuid(), 65534 if os.geteuid() == 0 else os.geteuid()})
)
def test_a_locked_process_cannot_open_connect_fork_or_grow(tmp_path: Path, user: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ESCAPE, str(user)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.stdout.split() == ["refused"] * 7, ended.stderr


def test_the_result_names_what_held(parse: Parse) -> None:
    held = parse("a.txt", b"text").confinement
    assert {"resource limits", "no new processes", "seccomp"} <= set(held)
    assert os.geteuid() != 0 or {"empty root", "user nobody"} <= set(held)


def large_file(tmp_path: Path) -> Path:
    path = tmp_path / "large.jsonl"
    path.write_bytes(b'{"question": "what?", "answer": "that"}\n' * ROWS)
    return path


def parsing_children() -> list[psutil.Process]:
    """The children that parse; a session has others too, a chain for example."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie has no command line either
            if "datanets.parsing.child" in child.cmdline():
                found.append(child)
    return found


def parse_and_signal(path: Path, number: signal.Signals) -> ParseResult:
    def strike(share: float, rows_read: int) -> None:
        for child in parsing_children():
            child.send_signal(number)

    return parse_upload(path, path.name, on_progress=strike)


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (signal.SIGSEGV, 422, "cannot_be_decoded"),
        (signal.SIGABRT, 422, "cannot_be_decoded"),
        (signal.SIGKILL, 413, "needs_too_much_memory"),
    ],
)
def test_a_child_that_is_struck_down_is_a_rejection(
    tmp_path: Path, temporary_folder: Path, number: signal.Signals, status: int, code: str
) -> None:
    refused(parse_and_signal(large_file(tmp_path), number), status, code)
    assert list(temporary_folder.iterdir()) == []


def test_a_file_that_takes_too_long_is_a_rejection(parse: Parse, tmp_path: Path) -> None:
    path = large_file(tmp_path)
    refused(parse_upload(path, path.name, Limits(wall_seconds=0.5)), 413, "takes_too_long")
    refused(parse_upload(path, path.name, Limits(cpu_seconds=1)), 413, "takes_too_long")


def test_progress_grows_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[float, int]] = []
    path = large_file(tmp_path)
    with parse_upload(path, path.name, on_progress=lambda *step: seen.append(step)) as result:
        assert result.rows_accepted == ROWS
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert 0 < seen[0][0] < seen[-1][0] <= 1


def test_a_fault_in_the_progress_callback_stops_the_child(tmp_path: Path) -> None:
    def fail(share: float, rows_read: int) -> None:
        raise RuntimeError("the caller has gone")

    path = large_file(tmp_path)
    with pytest.raises(RuntimeError, match="gone"):
        parse_upload(path, path.name, on_progress=fail)
    assert parsing_children() == []


ORPHAN = """
import sys
from datanets.parsing import parse_upload
parse_upload(sys.argv[1], "a.jsonl", on_progress=lambda *step: print(*step, flush=True))
"""


def test_the_child_dies_with_its_parent_and_nothing_stays(
    tmp_path: Path, temporary_folder: Path
) -> None:
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary_folder)}
    command = [sys.executable, "-c", ORPHAN, str(large_file(tmp_path))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        children = psutil.Process(parent.pid).children()
        parent.kill()
    assert len(children) == 1
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert list(temporary_folder.iterdir()) == []


def test_no_secret_of_the_parent_reaches_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    path = large_file(tmp_path)
    environments: list[dict[str, str]] = []

    def look(share: float, rows_read: int) -> None:
        environments.extend(child.environ() for child in parsing_children())

    parse_upload(path, path.name, on_progress=look).close()
    assert environments
    assert not any("DATABASE_URL" in environment for environment in environments)


def test_no_descriptor_is_lost(parse: Parse) -> None:
    parse("a.txt", b"text").close()
    before = psutil.Process().num_fds()
    for content in (b"text", b"", b"\xff"):
        parse("a.txt", content).close()
    assert psutil.Process().num_fds() == before


def test_the_rows_can_be_read_twice_and_side_by_side(parse: Parse) -> None:
    result = parse("a.txt", b"one\n\ntwo\n")
    assert rows_of(result) == rows_of(result)
    assert [a == b for a, b in zip(result.rows(), result.rows(), strict=True)] == [True, True]


def test_a_missing_file_is_a_fault_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parse_upload(tmp_path / "none", "a.csv")


def test_the_parent_never_loads_pyarrow() -> None:
    script = "import sys, datanets.parsing; sys.exit('pyarrow' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert ended.returncode == 0
