"""Uploads into rows: parsed only in a confined child process. See `sandbox.parse_upload`."""

from __future__ import annotations

from datanets.parsing.confine import SandboxUnavailableError
from datanets.parsing.result import BadRow, Limits, Message, NeedsMapping, Rejection, Row
from datanets.parsing.sandbox import ParseResult, parse_upload
from datanets.parsing.sniff import WORKING_FORMATS

__all__ = [
    "WORKING_FORMATS",
    "BadRow",
    "Limits",
    "Message",
    "NeedsMapping",
    "ParseResult",
    "Rejection",
    "Row",
    "SandboxUnavailableError",
    "parse_upload",
]
