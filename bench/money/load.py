"""Several client processes against one ledger, all told to go at the same moment.

A client is a script that prints `ready`, waits for a line, posts for the given seconds and prints
`{"posted": n, "seconds": s, "milliseconds": [each call's time, at most 2,000 of them]}`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

START_SECONDS = 120


@dataclass(frozen=True)
class Load:
    """Transactions committed by all clients together, a second, and how long a call took."""

    tx_s: float
    p50_ms: float
    p99_ms: float
    clients: int

    def as_dict(self) -> dict[str, float]:
        return {
            "tx_s": round(self.tx_s, 1),
            "call_p50_ms": round(self.p50_ms, 2),
            "call_p99_ms": round(self.p99_ms, 2),
            "clients": self.clients,
        }


def run_clients(
    command: Sequence[str], environment: Mapping[str, str], *, clients: int, seconds: float
) -> Load:
    """Run `command --client K --seconds S` `clients` times at once. Raises `RuntimeError`."""
    processes = [
        subprocess.Popen(
            [*command, "--client", str(number), "--seconds", str(seconds)],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(clients)
    ]
    try:
        for process in processes:
            if _line(process).strip() != "ready":
                raise RuntimeError(_last_words(process))
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [_result(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    times = sorted(one for result in results for one in result["milliseconds"])
    return Load(
        tx_s=sum(result["posted"] / result["seconds"] for result in results),
        p50_ms=statistics.median(times),
        p99_ms=times[int(len(times) * 0.99) - 1],
        clients=clients,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = _line(process)
    if not line:
        raise RuntimeError(_last_words(process))
    answer: dict[str, Any] = json.loads(line)
    return answer


def _last_words(process: subprocess.Popen[str]) -> str:
    process.kill()
    said = process.communicate()[1].strip().splitlines()
    return said[-1][:300] if said else "died without a word"


def serve(call: Callable[[int], int], seconds: float) -> str:
    """A client's whole life: once to warm up, `ready`, then `call` until the time is over.

    `call` says how many transactions it committed.
    """
    call(-1)  # opens the connection and reads what is read once
    print("ready", flush=True)
    sys.stdin.readline()
    posted, number, times, began = 0, 0, [], time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        posted += call(number)
        times.append((time.perf_counter() - now) * 1000)
        number += 1
    took = time.perf_counter() - began
    step = len(times) // 2000 + 1
    return json.dumps({"posted": posted, "seconds": took, "milliseconds": times[::step]})
