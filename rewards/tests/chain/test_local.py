"""The local node: starts, ends, keeps its state, and makes blocks final."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewards.chain.calls import transfer_native_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import send_and_wait
from rewards.chain.errors import ChainUnavailable, LocalChainFailed
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, development_account
from rewards.chain.local import LocalChain, LocalChainSettings, find_anvil, free_port
from rewards.chain.transactions import Signer

RECIPIENT = "0x00000000000000000000000000000000000000A1"


@pytest.fixture
def settings(tmp_path: Path) -> LocalChainSettings:
    return LocalChainSettings(
        state_file=tmp_path / "state.json", port=free_port(), state_interval_seconds=1
    )


def client_of(chain: LocalChain) -> ChainClient:
    return ChainClient(chain.url, DEVELOPMENT_CHAIN_ID)


def pay(chain: LocalChain, value_wei: int) -> int:
    """Sends native coin to ``RECIPIENT``; answers the block number."""
    signer = Signer(development_account(0).key, DEVELOPMENT_CHAIN_ID)
    call = transfer_native_call(RECIPIENT, value_wei)
    return send_and_wait(client_of(chain), signer, call).block_number


def is_running(process_id: int) -> bool:
    """False for a zombie too: in a container nobody may reap an orphan."""
    try:
        return "Z" not in Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2][:3]
    except FileNotFoundError:
        return False


def wait_until_gone(process_id: int, timeout_seconds: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while is_running(process_id):
        assert time.monotonic() < deadline, f"process {process_id} is still there"
        time.sleep(0.02)


def test_stop_ends_the_process_and_the_port_no_longer_answers(
    settings: LocalChainSettings,
) -> None:
    with LocalChain(settings) as chain:
        client, process_id = client_of(chain), chain.process_id
        assert client.latest_block().number == 0
    assert process_id is not None
    assert not is_running(process_id)
    with pytest.raises(ChainUnavailable):
        client.latest_block()


def test_balances_survive_a_clean_restart_and_can_be_read_at_finalized(
    settings: LocalChainSettings,
) -> None:
    with LocalChain(settings) as chain:
        pay(chain, 7)
    with LocalChain(settings) as chain:
        assert chain.origin == "state"
        assert client_of(chain).native_balance_of(RECIPIENT, "finalized") == 7


def test_block_hashes_are_the_same_after_a_clean_restart(settings: LocalChainSettings) -> None:
    with LocalChain(settings) as chain:
        number = pay(chain, 7)
        before = client_of(chain).block_hash(number)
    with LocalChain(settings) as chain:
        assert client_of(chain).block_hash(number) == before


def test_a_damaged_dump_falls_back_to_the_previous_one(settings: LocalChainSettings) -> None:
    assert settings.state_file is not None
    with LocalChain(settings) as chain:
        pay(chain, 7)
    assert LocalChain(settings).keep_copy()
    dump = settings.state_file.read_bytes()
    settings.state_file.write_bytes(dump[: len(dump) // 2])
    with LocalChain(settings) as chain:
        assert chain.origin == "previous"
        assert client_of(chain).native_balance_of(RECIPIENT) == 7


def test_a_damaged_dump_without_a_previous_one_starts_a_new_chain_and_is_kept(
    settings: LocalChainSettings,
) -> None:
    assert settings.state_file is not None
    settings.state_file.write_text("{")
    with LocalChain(settings) as chain:
        assert chain.origin == "new"
    assert settings.state_file.with_suffix(".damaged").read_text() == "{"


def test_a_damaged_dump_is_never_kept_as_the_previous_one(settings: LocalChainSettings) -> None:
    assert settings.state_file is not None
    settings.state_file.write_text("{")
    assert not LocalChain(settings).keep_copy()
    assert not settings.state_file.with_suffix(".previous").exists()


def test_a_transaction_is_final_after_two_seals_and_no_more_blocks_follow(
    chain: LocalChain,
) -> None:
    number = pay(chain, 1)
    assert client_of(chain).finalized_block().number < number
    assert [chain.seal(), chain.seal(), chain.seal()] == [True, True, False]
    assert client_of(chain).finalized_block().number == number


def test_a_taken_port_is_named_in_the_error(chain: LocalChain) -> None:
    with pytest.raises(LocalChainFailed, match=f"port {chain.settings.port} is taken"):
        LocalChain(LocalChainSettings(port=chain.settings.port)).start()


def test_a_binary_that_fails_is_reported_with_its_own_words(tmp_path: Path) -> None:
    binary = tmp_path / "anvil"
    binary.write_text("#!/bin/sh\necho no such option >&2\nexit 2\n")
    binary.chmod(0o700)
    with pytest.raises(LocalChainFailed, match="no such option"):
        LocalChain(LocalChainSettings(port=free_port(), anvil_path=binary)).start()


def test_a_missing_binary_is_reported_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ANVIL_PATH", "NODE_MODULES"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LocalChainFailed, match="npm ci"):
        find_anvil(tmp_path)


def start_chain_process(settings: LocalChainSettings) -> subprocess.Popen[str]:
    """The ``chain`` process as `make run` starts it, once it has said that it is up."""
    command = [sys.executable, "-m", "rewards.chain.local", "--port", str(settings.port)]
    command += ["--state-file", str(settings.state_file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "chain: http://127.0.0.1" in process.stdout.readline()
    return process


def child_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_anvil_ends_with_the_chain_process_however_that_ends(
    settings: LocalChainSettings, number: signal.Signals
) -> None:
    process = start_chain_process(settings)
    with process:
        anvil = child_of(process)
        os.kill(process.pid, number)
    wait_until_gone(anvil)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)


def test_the_chain_process_makes_transactions_final_by_itself(
    settings: LocalChainSettings,
) -> None:
    with start_chain_process(settings) as process:
        chain = LocalChain(settings)
        number, deadline = pay(chain, 1), time.monotonic() + 15
        while client_of(chain).finalized_block().number < number:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
