"""A folder of its own for each process of a test run: database server, files, broker, contracts.

Loaded by `-p` in pyproject.toml, so before the settings are read. pytest-xdist names its processes
in `PYTEST_XDIST_WORKER`; a run without it uses the checkout's own `.local`.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    local = Path(os.environ.get("OPENLEDGER_LOCAL_DIR", ROOT / ".local"))
    os.environ["OPENLEDGER_LOCAL_DIR"] = str(local / "tests" / worker)
