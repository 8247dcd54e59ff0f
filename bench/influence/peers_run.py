"""Run every peer on an exchange folder, each in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
TIMEOUT_SECONDS = 1800


def environments() -> Path:
    """Where peers' environments are; `BENCH_PEERS` names another folder."""
    return Path(os.environ.get("BENCH_PEERS", ".local/bench/peers")).absolute()


def run_peers(place: Path, only: Collection[str] | None = None) -> None:
    """Run the scripts that have not left scores yet, or some of them; a failure is a result,
    written as such."""
    for script in sorted(PEERS.glob("*_peer.py")):
        name = script.stem.removesuffix("_peer")
        if only is not None and name not in only:
            continue
        done = place / "scores" / f".{name}.done"
        if done.exists():
            continue
        try:
            python = environment(name, PEERS / f"requirements-{name}.txt")
            command = [str(python), str(script), str(place.absolute())]
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                env=one_thread,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()
            report = {"package": name, "version": "", "error": said[-1][:300] if said else "died"}
            (place / "scores" / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
        done.touch()


def environment(name: str, wanted: Path) -> Path:
    """The peer's Python with what the file `wanted` names; made on first use.

    torch first: by exactly its pin it is the CPU wheel.
    """
    folder = environments() / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        lines = [line.split("#")[0].strip() for line in wanted.read_text().splitlines()]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for line in (line for line in lines if line.startswith("torch==")):
            subprocess.run([*pip, line], check=True)
        bare = ["--no-deps"] if "no-deps" in wanted.read_text() else []
        subprocess.run([*pip, *bare, "-r", str(wanted)], check=True)
        (folder / ".ready").touch()
    return python
