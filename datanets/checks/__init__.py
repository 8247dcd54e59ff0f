"""Checks of rows: each says what it measured and against what, and none refuses a row.

Plain Python without Django: runs in a confined child (`child.py`), never in the web process.
"""

from __future__ import annotations

from datanets.checks.findings import PERSONAL_DATA_KINDS, RULES, Finding, Rule
from datanets.checks.sandbox import CheckedRow, CheckResult, ChecksStopped, check_upload

__all__ = [
    "PERSONAL_DATA_KINDS",
    "RULES",
    "CheckResult",
    "CheckedRow",
    "ChecksStopped",
    "Finding",
    "Rule",
    "check_upload",
]
