"""Rows as lines of JSON: the form in which they go from one process to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datanets.parsing.result import Message, Row

_TEXTS = ("entry", "instruction", "response", "rejected", "text")


_ESCAPES = {
    bytes([code]): json.dumps(chr(code))[1:-1].encode() for code in b'\\"\n\r\t\b\f'
}  # the backslash comes first: the others bring backslashes with them
_OTHER_CONTROLS = bytes(code for code in range(32) if bytes([code]) not in _ESCAPES)


def encode_row(row: Row) -> bytes:
    """One line with its ending, UTF-8; empty fields are left out."""
    fields = [b'{"kind": %s, "number": %d' % (quoted(row.kind), row.number)]
    fields += [
        b'"%s": %s' % (name.encode(), quoted(text))
        for name in _TEXTS
        if (text := getattr(row, name))
    ]
    if row.messages:
        turns = [[message.role, message.content] for message in row.messages]
        fields.append(b'"messages": ' + json.dumps(turns, ensure_ascii=False).encode())
    if row.extra_wordings:
        wordings = json.dumps(row.extra_wordings, ensure_ascii=False).encode()
        fields.append(b'"extra_wordings": ' + wordings)
    return b", ".join(fields) + b"}\n"


def quoted(text: str) -> bytes:
    """What `json.dumps(text, ensure_ascii=False)` gives, by searches for what is rarely there."""
    data = text.encode()
    if len(data.translate(None, _OTHER_CONTROLS)) < len(data):
        return json.dumps(text, ensure_ascii=False).encode()
    for one, escaped in _ESCAPES.items():
        data = data.replace(one, escaped)
    return b'"' + data + b'"'


def decode_row(line: bytes) -> Row:
    return row_of(json.loads(line))


def row_of(fields: Mapping[str, Any]) -> Row:
    """The row of one decoded line."""
    if "messages" not in fields and "extra_wordings" not in fields:
        return Row(**fields)
    messages = tuple(Message(*pair) for pair in fields.get("messages", ()))
    wordings = tuple(fields.get("extra_wordings", ()))
    return Row(**{**fields, "messages": messages, "extra_wordings": wordings})
