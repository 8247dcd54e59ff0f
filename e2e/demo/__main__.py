"""Run the loop, print each step with its figures and its time, write `.local/demo.json`."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from e2e.demo.person import StepFailed
from e2e.demo.steps import STEPS, Stage


def main() -> int:
    site = os.environ["SITE_URL"]
    print(f"\nThe loop, over HTTP, as five people at {site}\n", flush=True)
    stage, steps, began = Stage(site), [], time.monotonic()
    for number, (name, step) in enumerate(STEPS, start=1):
        report = _run(number, name, step, stage)
        steps.append(report)
        if not report["ok"]:
            break
    ok = all(step["ok"] for step in steps) and len(steps) == len(STEPS)
    setup_seconds = float(os.environ.get("SETUP_SECONDS", 0)) + float(
        os.environ.get("SITE_READY_SECONDS", 0)
    )
    result = {
        "ok": ok,
        "steps": steps,
        "site": site,
        "setup_seconds": round(setup_seconds, 2),
        "loop_seconds": round(time.monotonic() - began, 2),
    }
    _write(result)
    print(
        f"\n{'Every step held.' if ok else 'A step failed.'}"
        f"  installs and start {setup_seconds:.0f} s, loop {result['loop_seconds']:.0f} s",
        flush=True,
    )
    if ok:
        print(f"{stage.how_to_look_around()}\n", flush=True)
    return 0 if ok else 1


def _run(number: int, name: str, step: Any, stage: Stage) -> dict[str, Any]:
    began = time.monotonic()
    try:
        figures = step(stage)
        ok, problem = True, ""
    except StepFailed as failure:
        figures, ok, problem = {}, False, str(failure)
    except Exception:  # the demo must end with a report, whatever broke
        figures, ok, problem = {}, False, traceback.format_exc()
    seconds = time.monotonic() - began
    mark = "✓" if ok else "✗"
    print(f"{mark} {number:2}. {name:<46} {seconds:6.1f} s", flush=True)
    for label, value in figures.items():
        print(f"       {label}: {value}", flush=True)
    if problem:
        print(f"       {problem}", flush=True)
    report = {"name": name, "seconds": round(seconds, 2), "ok": ok, "figures": figures}
    return report | ({"problem": problem} if problem else {})


def _write(result: dict[str, Any]) -> None:
    local = Path(os.environ.get("OPENLEDGER_LOCAL_DIR", ".local"))
    temporary = local / "demo.json.new"
    temporary.write_text(json.dumps(result, indent=2, default=str) + "\n")
    temporary.replace(local / "demo.json")


if __name__ == "__main__":
    sys.exit(main())
