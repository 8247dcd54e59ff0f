"""anvil as a child process: the chain of a development machine and of the tests.

    with LocalChain(LocalChainSettings(state_file=Path("state.json"), port=8545)) as chain:
        chain.url
    python -m rewards.chain.local --state-file FILE --port 8545  # the `chain` process

Blocks and finality. anvil mines a block when a transaction arrives, and with one slot an epoch it
calls the block two below the newest one ``finalized`` (measured, anvil 1.7.1): a transaction is
final when two more blocks exist. Interval mining would give those, but an empty block costs
1.8 kB of state, 150 MB a day at one a second. So ``seal()`` mines one block only while the newest
transaction is not yet final; ``serve`` calls it once a second. A deposit is final about two
seconds after it is mined, and an idle chain does not grow.

State. anvil dumps its state every ``state_interval_seconds`` and when it stops cleanly, not
atomically. After each dump that parses, ``keep_copy`` (called by ``serve``) keeps it as
``.previous``; a start with a damaged dump falls back to that. After a ``kill -9`` the chain can
be behind the database: compare stored block hashes. Restored states have no history below the
head, where ``finalized`` points, so a start from a state mines three blocks to bring
``finalized`` to where balances can be read.

Life. The child gets SIGTERM when its parent dies (``PR_SET_PDEATHSIG``; Linux follows the thread
that started it, so start it from one that lives as long). It listens on loopback only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rewards.chain.artifacts import CONTRACTS_FOLDER
from rewards.chain.errors import ChainError, LocalChainFailed
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.rpc import Rpc

LOOPBACK = "127.0.0.1"
# With --slots-in-an-epoch 1 anvil's finalized block is this many below the newest.
CONFIRMATIONS_TO_FINALITY = 2
# anvil keeps a full state a block, 0.8 MB each; contract reads reach back this many blocks.
STATES_IN_MEMORY = 64
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

StateOrigin = Literal["new", "state", "previous"]


@dataclass(frozen=True)
class LocalChainSettings:
    """``state_file`` None keeps nothing, for tests; ``anvil_path`` None searches for it."""

    state_file: Path | None = None
    port: int = 8545
    chain_id: int = DEVELOPMENT_CHAIN_ID
    state_interval_seconds: int = 10
    start_timeout_seconds: float = 30.0
    anvil_path: Path | None = None


def find_anvil(contracts_folder: Path = CONTRACTS_FOLDER) -> Path:
    """The anvil binary: ``ANVIL_PATH``, else the npm platform package, else PATH.

    npm 11 refuses the install script of the package that chooses a platform, so the platform
    package is named in package.json (Linux on x64) and its binary is called directly.
    ``NODE_MODULES`` names another folder than the contracts' own; elsewhere set ``ANVIL_PATH``.
    """
    if named := os.environ.get("ANVIL_PATH"):
        return Path(named)
    folders = [contracts_folder / "node_modules"]
    if modules := os.environ.get("NODE_MODULES"):
        folders.insert(0, Path(modules))
    for folder in folders:
        for binary in sorted(folder.glob("@foundry-rs/anvil-*/bin/anvil")):
            if os.access(binary, os.X_OK):
                return binary
    if installed := shutil.which("anvil"):
        return Path(installed)
    raise LocalChainFailed(
        "anvil is not installed; run: npm ci --omit=dev --prefix rewards/contracts"
    )


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class LocalChain:
    """One anvil. ``start`` returns when it answers, ``stop`` when it is gone."""

    def __init__(self, settings: LocalChainSettings) -> None:
        self.settings = settings
        self.url = f"http://{LOOPBACK}:{settings.port}"
        self.origin: StateOrigin = "new"
        self._rpc = Rpc(self.url, timeout_seconds=5.0)
        self._process: subprocess.Popen[bytes] | None = None
        # A file, not a pipe: nobody reads while anvil runs, and a full pipe would stop it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the chain
        self._copied_state: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def process_id(self) -> int | None:
        """Process id of anvil while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Starts anvil from its newest whole state; raises ``LocalChainFailed``."""
        if self.process_id is not None:
            return
        self._require_free_port()
        self.origin = self._choose_state()
        binary = self.settings.anvil_path or find_anvil()
        self._process = subprocess.Popen(
            [str(binary), *self._options()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
            preexec_fn=_end_with_parent(os.getpid()),
        )
        try:
            self._wait_until_ready()
            if self.origin != "new":
                self.mine(CONFIRMATIONS_TO_FINALITY + 1)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Ends anvil with SIGTERM, so that it dumps its state; after the timeout with SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def mine(self, blocks: int = 1) -> None:
        """Mines empty blocks now."""
        self._rpc.request("anvil_mine", hex(blocks))

    def seal(self) -> bool:
        """Mines one block if a transaction waits for finality; says whether it did."""
        latest = int(self._rpc.request("eth_blockNumber"), 16)
        for number in range(max(0, latest - CONFIRMATIONS_TO_FINALITY + 1), latest + 1):
            count = self._rpc.request("eth_getBlockTransactionCountByNumber", hex(number))
            if int(count, 16) > 0:
                self.mine()
                return True
        return False

    def keep_copy(self) -> bool:
        """Keeps the newest dump as ``.previous`` if it is new and whole; says whether it did."""
        state = self.settings.state_file
        if state is None or not state.exists():
            return False
        seen = (state.stat().st_mtime_ns, state.stat().st_size)
        if seen == self._copied_state or not _is_whole(state):
            return False
        temporary = state.with_suffix(".copying")
        shutil.copyfile(state, temporary)
        if not _is_whole(temporary):  # anvil wrote while we copied
            return False
        temporary.replace(_previous(state))
        self._copied_state = seen
        return True

    def serve(self, stop: threading.Event, interval_seconds: float = 1.0) -> None:
        """Seals blocks and keeps copies until ``stop``; raises ``LocalChainFailed`` if it dies."""
        next_copy = time.monotonic() + self.settings.state_interval_seconds
        while not stop.wait(interval_seconds):
            if self.process_id is None:
                raise LocalChainFailed(f"anvil ended by itself: {self._last_words()}")
            try:
                self.seal()
            except ChainError as error:
                print(f"chain: {error}", file=sys.stderr, flush=True)
            if time.monotonic() >= next_copy:
                self.keep_copy()
                next_copy = time.monotonic() + self.settings.state_interval_seconds

    def _options(self) -> list[str]:
        settings = self.settings
        options = ["--host", LOOPBACK, "--port", str(settings.port), "--silent"]
        options += ["--chain-id", str(settings.chain_id), "--slots-in-an-epoch", "1"]
        options += ["--prune-history", str(STATES_IN_MEMORY)]
        if settings.state_file is not None:
            options += ["--state", str(settings.state_file)]
            options += ["--state-interval", str(settings.state_interval_seconds)]
        return options

    def _choose_state(self) -> StateOrigin:
        state = self.settings.state_file
        if state is None:
            return "new"
        state.parent.mkdir(parents=True, exist_ok=True)
        if state.exists() and _is_whole(state):
            return "state"
        previous = _previous(state)
        if previous.exists() and _is_whole(previous):
            if state.exists():
                state.replace(state.with_suffix(".damaged"))
            shutil.copyfile(previous, state)
            return "previous"
        if state.exists():
            state.replace(state.with_suffix(".damaged"))
        return "new"

    def _require_free_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, self.settings.port))
            except OSError as error:
                message = f"port {self.settings.port} is taken: {error.strerror}"
                raise LocalChainFailed(message) from error

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.settings.start_timeout_seconds
        while True:
            if self.process_id is None:
                raise LocalChainFailed(f"anvil did not start: {self._last_words()}")
            try:
                self._rpc.request("eth_chainId")
            except ChainError as error:
                if time.monotonic() > deadline:
                    raise LocalChainFailed(f"anvil does not answer: {error}") from error
                time.sleep(0.02)
            else:
                return

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read(2_000).decode(errors="replace").strip() or "no output"


def _previous(state: Path) -> Path:
    return state.with_suffix(".previous")


def _is_whole(state: Path) -> bool:
    """Whether a dump parses; a process killed in the middle of writing leaves one that does not."""
    try:
        return isinstance(json.loads(state.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def _end_with_parent(parent_id: int) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_id:  # the parent died between fork and prctl
            os._exit(1)

    return prepare


def main() -> int:
    """The ``chain`` process: anvil, kept sealed and copied, until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Runs the local development chain.")
    parser.add_argument("--state-file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8545)
    parser.add_argument("--chain-id", type=int, default=DEVELOPMENT_CHAIN_ID)
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = LocalChainSettings(
        state_file=arguments.state_file, port=arguments.port, chain_id=arguments.chain_id
    )
    try:
        with LocalChain(settings) as chain:
            print(f"chain: {chain.url} (state: {chain.origin})", flush=True)
            chain.serve(stop)
    except LocalChainFailed as error:
        print(f"chain: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
