"""What can go wrong, one function a kind: it does its harm, and ends it, before it returns."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from bench.nemesis import proxy
from bench.nemesis.proxy import Lie
from bench.nemesis.world import Process, World
from rewards.chain.errors import ChainError

Fault = Callable[[World], None]
SECONDS = 0.5
"""How long a lie or a standstill lasts."""


def _signalled(number: int, *, clock: bool = False, payers: int = 0) -> Fault:
    def fault(world: World) -> None:
        victims: list[Process] = world.payers[:payers]
        for process in [*victims, *([world.clock] if clock else [])]:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        if clock:
            with suppress(Exception):
                world.clock.running.wait(10)
            world.clock.revive()

    return fault


def _paused(which: str) -> Fault:
    def fault(world: World) -> None:
        pid = (world.clock if which == "clock" else world.payers[0]).pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(SECONDS)
        os.kill(pid, signal.SIGCONT)

    return fault


def second_clock(world: World) -> None:
    """Every task delivered twice, at the same time, by two processes."""
    other = world.clock.second()
    time.sleep(2 * SECONDS)
    other.kill()
    other.wait()


# PostgreSQL


@contextmanager
def _server(world: World) -> Iterator[psycopg.Connection]:
    with psycopg.connect(world.cluster.url, autocommit=True) as connection:
        yield connection


def _backends(world: World, role: str) -> list[int]:
    with _server(world) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [f"bench-{role}"]
        ).fetchall()
    return [int(pid) for (pid,) in rows]


def _busy_backends(world: World, role: str) -> list[int]:
    """Connections live as long as a request: wait for a moment with one."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if found := _backends(world, role):
            return found
    return []


def _each_backend(function: str, role: str) -> Fault:
    def fault(world: World) -> None:
        pids = _busy_backends(world, role)
        with _server(world) as connection:
            for pid in pids:
                connection.execute(f"SELECT {function}(%s)".encode(), [pid])

    return fault


def _backend_killed(role: str) -> Fault:
    """The server ends all other sessions and recovers from its log."""

    def fault(world: World) -> None:
        for pid in _busy_backends(world, role)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _until_it_answers(world)

    return fault


def _until_it_answers(world: World) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(psycopg.Error), _server(world):
            return
        time.sleep(0.05)


def postmaster_killed(world: World) -> None:
    world.cluster.kill()
    world.cluster.restart()
    _until_it_answers(world)


def server_stopped_at_once(world: World) -> None:
    world.cluster.stop_immediately()
    world.cluster.restart()
    _until_it_answers(world)


def _may_write(pid: int, limit: str) -> None:
    """Set RLIMIT_FSIZE of a process, as its own user: root may lack the right to do it here."""
    with suppress(OSError, subprocess.CalledProcessError):
        owner = os.stat(f"/proc/{pid}").st_uid
        command = ["prlimit", "--pid", str(pid), f"--fsize={limit}:unlimited"]
        subprocess.run(command, check=True, user=owner, capture_output=True)


def _disk_full_for_database(role: str) -> Fault:
    """No file of these backends may grow any more: what a full disk does to a write, of a table
    or of the log, on a machine whose disk others use as well."""

    def fault(world: World) -> None:
        for pid in _busy_backends(world, role):
            _may_write(pid, "0")
        time.sleep(SECONDS)
        with suppress(psycopg.Error):
            for pid in _backends(world, role):
                _may_write(pid, "unlimited")
        _until_it_answers(world)

    return fault


def disk_full_for_files(world: World) -> None:
    """No file of a payer may grow, so no leaf list of an epoch can be written."""
    pid = world.payers[0].pid
    _may_write(pid, "0")
    time.sleep(SECONDS)
    _may_write(pid, "unlimited")


def accounts_locked(world: World) -> None:
    with psycopg.connect(world.cluster.url) as connection:
        connection.execute("SELECT 1 FROM rewards_account ORDER BY id FOR UPDATE")
        time.sleep(SECONDS)


def cursor_lost(world: World) -> None:
    """The watcher reads everything again from the first block."""
    with _server(world) as connection:
        connection.execute("UPDATE rewards_chaincursor SET block_number = 0, block_hash = ''")


# The chain


def _reorganised(low: int, high: int, times: int = 1) -> Fault:
    def fault(world: World) -> None:
        for _ in range(times):
            newest = world.client.latest_block().number
            depth = min(world.draw.randint(low, high), newest - world.addresses.deployed_block - 30)
            with suppress(ChainError):
                world.client.request("anvil_reorg", max(1, depth), [])
            time.sleep(0.1)

    return fault


def chain_went_back(world: World) -> None:
    """As a development chain does after kill -9: blocks are gone, and others take their numbers."""
    snapshot = world.client.request("evm_snapshot")
    world.deposit(10**15)
    world.chain.mine(3)
    time.sleep(SECONDS)
    world.client.request("evm_revert", snapshot)


def mining_stopped(world: World) -> None:
    world.client.request("evm_setAutomine", False)
    time.sleep(SECONDS)
    world.client.request("evm_setAutomine", True)
    world.chain.mine(1)


def mempool_dropped(world: World) -> None:
    world.client.request("evm_setAutomine", False)
    time.sleep(SECONDS)
    world.client.request("anvil_dropAllTransactions")
    world.client.request("evm_setAutomine", True)
    world.chain.mine(1)


def chain_clock_ahead(world: World) -> None:
    world.client.request("evm_increaseTime", world.draw.randint(60, 86_400))
    world.chain.mine(1)


def base_fee_jumps(world: World) -> None:
    world.client.request("anvil_setNextBlockBaseFeePerGas", hex(200 * 10**9))
    world.chain.mine(1)


# A node that lies


def _lie(lie: Lie, seconds: float = SECONDS) -> Fault:
    def fault(world: World) -> None:
        world.node.lie = lie
        time.sleep(seconds)
        world.node.lie = None

    return fault


def node_behind(world: World) -> None:
    _lie(proxy.old_heads(5, world.chain.url))(world)


def _twice(logs: list[object]) -> list[object]:
    return [*logs, *logs]


def _other_hash(block: dict[str, object]) -> dict[str, object]:
    return block | {"hash": "0x" + "ab" * 32} if block else block


KINDS: dict[str, Fault] = {
    "payer killed (-9)": _signalled(signal.SIGKILL, payers=1),
    "both payers killed (-9)": _signalled(signal.SIGKILL, payers=2),
    "payer terminated": _signalled(signal.SIGTERM, payers=1),
    "payer frozen": _paused("payer"),
    "clock killed (-9)": _signalled(signal.SIGKILL, clock=True),
    "clock terminated": _signalled(signal.SIGTERM, clock=True),
    "clock frozen": _paused("clock"),
    "clock and payers killed (-9)": _signalled(signal.SIGKILL, clock=True, payers=2),
    "two clocks at once": second_clock,
    "same commands at two payers": lambda world: None,  # see `Round`: always beside the others
    "payer's session terminated": _each_backend("pg_terminate_backend", "payer"),
    "clock's session terminated": _each_backend("pg_terminate_backend", "clock"),
    "payer's statement cancelled": _each_backend("pg_cancel_backend", "payer"),
    "clock's statement cancelled": _each_backend("pg_cancel_backend", "clock"),
    "payer's Postgres backend killed (-9)": _backend_killed("payer"),
    "clock's Postgres backend killed (-9)": _backend_killed("clock"),
    "Postgres killed (-9)": postmaster_killed,
    "Postgres stopped at once": server_stopped_at_once,
    "disk full for the payer's Postgres": _disk_full_for_database("payer"),
    "disk full for the clock's Postgres": _disk_full_for_database("clock"),
    "disk full for the payer's files": disk_full_for_files,
    "accounts locked by another session": accounts_locked,
    "watcher's cursor lost": cursor_lost,
    "reorganisation, 1 to 3 deep": _reorganised(1, 3),
    "reorganisation, 4 to 12 deep": _reorganised(4, 12),
    "three reorganisations": _reorganised(1, 6, times=3),
    "chain went back": chain_went_back,
    "mining stopped": mining_stopped,
    "mempool dropped": mempool_dropped,
    "chain's clock jumps ahead": chain_clock_ahead,
    "base fee jumps": base_fee_jumps,
    "node hangs up": _lie(proxy.hang_up),
    "node answers 500": _lie(proxy.status(500)),
    "node answers 429": _lie(proxy.status(429)),
    "node answers too late": _lie(proxy.slow(1.5), seconds=1.0),
    "node answers no JSON": _lie(proxy.not_json),
    "node's answers are cut off": _lie(proxy.cut_off),
    "node says internal error": _lie(proxy.internal_error),
    "node names another chain": _lie(proxy.instead("eth_chainId", lambda found: "0x1")),
    "node is five blocks behind": node_behind,
    "node hides logs": _lie(proxy.instead("eth_getLogs", lambda logs: [])),
    "node sends each log twice": _lie(proxy.instead("eth_getLogs", _twice)),
    "node gives other block hashes": _lie(proxy.instead("eth_getBlockByNumber", _other_hash)),
    "node hides receipts": _lie(proxy.instead("eth_getTransactionReceipt", lambda found: None)),
    "node drops the answer to a sent transaction": _lie(
        proxy.drop_answer_of("eth_sendRawTransaction")
    ),
    "node forgets a sent transaction": _lie(proxy.swallow_sent),
}
