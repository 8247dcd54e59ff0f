"""One row as the checks see it: named texts that can be read and replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from datanets.content import Content
from datanets.parsing.result import Message, Row

_FIELDS = ("instruction", "response", "rejected", "text")


def texts_of(row: Row) -> Iterator[tuple[str, str]]:
    """(column, text) of every text that is not empty; turns and wordings count from 1."""
    for name in _FIELDS:
        if text := getattr(row, name):
            yield name, text
    for at, turn in enumerate(row.messages, start=1):
        yield f"messages {at}", turn.content
    for at, wording in enumerate(row.extra_wordings, start=1):
        yield f"wordings {at}", wording


def with_texts(row: Row, texts: Mapping[str, str]) -> Row:
    """The same row with other texts in the columns named."""
    changes: dict[str, Any] = {name: texts[name] for name in _FIELDS if name in texts}
    changes["messages"] = tuple(
        Message(turn.role, texts.get(f"messages {at}", turn.content))
        for at, turn in enumerate(row.messages, start=1)
    )
    changes["extra_wordings"] = tuple(
        texts.get(f"wordings {at}", wording)
        for at, wording in enumerate(row.extra_wordings, start=1)
    )
    return replace(row, **changes)


def content_of_row(row: Row) -> Content:
    """The row's content; wordings are not part of it."""
    return Content(
        kind=row.kind,
        instruction=row.instruction,
        response=row.response,
        rejected=row.rejected,
        text=row.text,
        messages=tuple({"role": turn.role, "content": turn.content} for turn in row.messages),
    )
