"""The running site for journeys: all processes, real chain, real training, real browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 240


@dataclass
class Site:
    """A site started by `make run`'s own program, in a folder and on ports of its own."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[str] = field(init=False)
    url: str = ""

    def start(self) -> None:
        self.output = self.folder / "run.log"
        with self.output.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "openledger_site.core.local.run"],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            lines = self.output.read_text().splitlines()
            found = [line.split()[1] for line in lines if line.startswith("Site ")]
            if found:
                self.url = found[0]
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"The site did not start:\n{self.output.read_text()[-3000:]}")

    def stop(self) -> None:
        """What Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command beside the site, on its database."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.child_environment()},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def child_environment(self) -> dict[str, str]:
        """The environment that the site's own processes have: read from its web process."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                command = (entry / "cmdline").read_bytes()
                if int(parent) == self.process.pid and b"uvicorn" in command:
                    content = (entry / "environ").read_bytes().decode()
                    return dict(item.split("=", 1) for item in content.split("\0") if "=" in item)
            except (OSError, ValueError):
                continue
        raise RuntimeError("The site's web process is not running.")


def make_site(folder: Path, **environment: str) -> Site:
    defaults = {
        "OPENLEDGER_LOCAL_DIR": str(folder),
        "EARNINGS_HOLDING_SECONDS": "2",
        "REPUTATION_VOICE_WEI": str(10**12),  # one answer is to be heard
        "SIGNUP_RATE_LIMIT": "1000/m/ip",
        # Dozens of retrainings would keep both cores from the journeys.
        "CALIBRATE_ON_PUBLISH": "0",
        "CALIBRATION_SUBSETS": "4",  # the fewest that can be fitted
        # Tests of this repository may run beside a developer's own site: take no fixed port.
        "DATABASE_URL": "",
        "CHAIN_RPC_URL": "",
    }
    return Site(folder, defaults | environment)
