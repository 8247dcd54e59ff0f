"""Rows as lines of JSON: the form in which they go from one process to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datanets.parsing.result import Message, Row


def encode_row(row: Row) -> bytes:
    """One line with its ending; empty fields are left out."""
    fields = {
        "kind": row.kind,
        "number": row.number,
        "entry": row.entry,
        "instruction": row.instruction,
        "response": row.response,
        "rejected": row.rejected,
        "messages": [[message.role, message.content] for message in row.messages],
        "text": row.text,
        "extra_wordings": row.extra_wordings,
    }
    kept = {name: value for name, value in fields.items() if value}
    return json.dumps(kept, ensure_ascii=False).encode("utf-8") + b"\n"


def decode_row(line: bytes) -> Row:
    return row_of(json.loads(line))


def row_of(fields: Mapping[str, Any]) -> Row:
    """The row of one decoded line."""
    if "messages" not in fields and "extra_wordings" not in fields:
        return Row(**fields)
    messages = tuple(Message(*pair) for pair in fields.get("messages", ()))
    wordings = tuple(fields.get("extra_wordings", ()))
    return Row(**{**fields, "messages": messages, "extra_wordings": wordings})
