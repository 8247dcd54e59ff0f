"""Recognises what the columns of a row mean and brings it into the one normal form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datanets.parsing import strict_json
from datanets.parsing.result import BadValueError, Kind, Limits, Message, Row

# Each role with the column names it goes by, best known first. Alpaca's `input` is a context when
# an `instruction` stands beside it and the question itself otherwise (see `_columns_of`).
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "instruction": ("instruction", "question", "prompt", "query", "user"),
    "response": ("response", "answer", "completion", "output", "reply", "assistant"),
    "context": ("context", "input"),
    "chosen": ("chosen", "preferred"),
    "rejected": ("rejected", "dispreferred"),
    "messages": ("messages", "conversations", "conversation"),
    "text": ("text", "content", "body", "passage"),
    "wordings": ("wordings", "also_asked_as"),
}

# ShareGPT and OpenAI names of the speakers, to ours.
SPEAKERS: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}

NOT_RECOGNISED = "its columns are not recognised"


def plain_name(column: str) -> str:
    """`Also asked-as ` and `also_asked_as` are the same name."""
    return column.strip().lower().replace(" ", "_").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Shape:
    """Which column plays which role; `kind` follows from the roles that are there."""

    kind: Kind
    columns: Mapping[str, str]


def kind_of(roles: Iterable[str]) -> Kind | None:
    """The kind of row that these roles make, or None when they make none or more than one."""
    present = set(roles)
    if "messages" in present:
        return "chat"
    if present >= {"chosen", "rejected"}:
        return "preference"
    if present >= {"instruction", "response"}:
        return "instruction"
    if "text" in present and not present & {"instruction", "response", "chosen", "rejected"}:
        return "text"
    return None


def _columns_of(names: Iterable[str]) -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = {}
    for name in names:
        by_name.setdefault(plain_name(name), []).append(name)
    found = {
        role: [column for synonym in synonyms for column in by_name.get(synonym, [])]
        for role, synonyms in SYNONYMS.items()
    }
    if not found["instruction"] and found["response"]:
        found["instruction"] = by_name.get("input", [])
        found["context"] = by_name.get("context", [])
    return found


def recognise(names: Iterable[str], mapping: Mapping[str, str] | None = None) -> Shape | None:
    """The shape of rows with these columns; None when it is not sure and a person must say."""
    names = list(names)
    if mapping:
        roles = {role: column for role, column in mapping.items() if column in names}
        kind = kind_of(roles)
        return Shape(kind, roles) if kind else None
    found = _columns_of(names)
    roles = {role: columns[0] for role, columns in found.items() if columns}
    kind = kind_of(roles)
    if kind is None:
        return None
    ambiguous = any(len(found[role]) > 1 for role in ROLES_OF_KIND[kind])
    return None if ambiguous else Shape(kind, roles)


ROLES_OF_KIND: Mapping[Kind, tuple[str, ...]] = {
    "instruction": ("instruction", "response", "context", "wordings"),
    "preference": ("instruction", "chosen", "rejected", "wordings"),
    "chat": ("messages", "wordings"),
    "text": ("text",),
}


@dataclass(slots=True)
class Normaliser:
    """Turns the raw rows of one file into Rows; remembers shapes and what it left aside."""

    limits: Limits
    mapping: Mapping[str, str] | None = None
    ignored_columns: set[str] = field(default_factory=set)
    _shapes: dict[tuple[str, ...], Shape | None] = field(default_factory=dict)

    def shape_of(self, names: Iterable[str]) -> Shape | None:
        key = tuple(names)
        if key not in self._shapes:
            if len(self._shapes) > 1_000:  # a hostile file may change its keys in every row
                self._shapes.clear()
            shape = self._shapes[key] = recognise(key, self.mapping)
            if shape and len(self.ignored_columns) < 100:
                used = {shape.columns.get(role) for role in ROLES_OF_KIND[shape.kind]}
                self.ignored_columns.update(name[:200] for name in key if name not in used)
        return self._shapes[key]

    def row(self, raw: Any, number: int, entry: str) -> Row:
        """Raises BadValueError with column, cause and remedy when the row cannot be used."""
        if not isinstance(raw, dict):
            cause = f"it is {_kind_name(raw)}, not an object with named fields"
            raise BadValueError("", cause, 'Write it as {"instruction": "…", "response": "…"}.')
        if len(raw) > self.limits.columns:
            cause = f"it has {len(raw):,} columns, above {self.limits.columns:,}"
            raise BadValueError("", cause, "Keep only the columns that matter.")
        shape = self.shape_of(raw)
        if shape is None:
            raise BadValueError(", ".join(raw)[:200], NOT_RECOGNISED, "Say which column is which.")
        cells = {role: (name, raw.get(name)) for role, name in shape.columns.items()}
        return _BUILDERS[shape.kind](_Cells(cells, self.limits), number, entry)


def _kind_name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "empty" if value is None else names.get(type(value), "a number")


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of one row by role, read with the checks that every text goes through."""

    values: Mapping[str, tuple[str, Any]]
    limits: Limits

    def text(self, role: str, *, required: bool = True) -> str:
        column, value = self.values.get(role, (role, None))
        return self.checked(column, value, required=required)

    def checked(self, column: str, value: Any, *, required: bool = True) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            raise BadValueError(column, f"it is {value}, not a number", "Write it as text.")
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            value = ""
        if not isinstance(value, str):
            cause = f"it is {_kind_name(value)} where a text is expected"
            raise BadValueError(column, cause, "Write it as a text in quotes.")
        if required and not value.strip():
            raise BadValueError(column, "it is empty", "Fill it in, or remove the row.")
        if len(value) > self.limits.cell_characters:
            cause = f"it has {len(value):,} characters, above {self.limits.cell_characters:,}"
            raise BadValueError(column, cause, "Shorten it or split the row.")
        strict_json.refuse_unstorable(value, column)
        return value

    def wordings(self) -> tuple[str, ...]:
        column, value = self.values.get("wordings", ("wordings", None))
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = strict_json.loads(value, self.limits)
        if isinstance(value, str):
            value = value.split(" | ")
        if value is None:
            return ()
        if not isinstance(value, list):
            cause = f"it is {_kind_name(value)} where a list of texts is expected"
            raise BadValueError(column, cause, "Separate wordings with ' | ' or use a list.")
        texts = [self.checked(column, item, required=False) for item in value]
        kept = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
        if len(kept) > self.limits.wordings:
            cause = f"it has {len(kept)} wordings, above {self.limits.wordings}"
            raise BadValueError(column, cause, "Keep the most different ones.")
        return kept

    def messages(self, role: str = "messages") -> tuple[Message, ...]:
        column, value = self.values.get(role, (role, None))
        if isinstance(value, str):
            try:
                value = strict_json.loads(value, self.limits)
            except BadValueError as error:
                raise BadValueError(column, error.cause, error.remedy) from None
        if not isinstance(value, list) or not value:
            raise BadValueError(column, "it is not a list of messages", _MESSAGES_REMEDY)
        messages = tuple(self._message(column, item, at) for at, item in enumerate(value, start=1))
        speakers = {message.role for message in messages}
        if not {"user", "assistant"} <= speakers:
            raise BadValueError(column, "a user and an assistant must both speak", _MESSAGES_REMEDY)
        return messages

    def _message(self, column: str, item: Any, at: int) -> Message:
        if not isinstance(item, dict):
            raise BadValueError(column, f"message {at} is {_kind_name(item)}", _MESSAGES_REMEDY)
        name = item.get("role") or item.get("from")
        speaker = SPEAKERS.get(name.lower()) if isinstance(name, str) else None
        if speaker is None:
            cause = f"message {at} has no known role (found {str(name)[:40]!r})"
            raise BadValueError(column, cause, "Use system, user, assistant or tool.")
        content = item.get("content") if item.get("content") is not None else item.get("value")
        return Message(speaker, self.checked(f"{column}, message {at}", content))


_MESSAGES_REMEDY = 'Write it as [{"role": "user", "content": "…"}, {"role": "assistant", …}].'


def _instruction_row(cells: _Cells, number: int, entry: str) -> Row:
    instruction, context = cells.text("instruction"), cells.text("context", required=False)
    return Row(
        kind="instruction",
        number=number,
        entry=entry,
        instruction=f"{instruction}\n\n{context}" if context.strip() else instruction,
        response=cells.text("response"),
        extra_wordings=cells.wordings(),
    )


def _preference_row(cells: _Cells, number: int, entry: str) -> Row:
    """`chosen` and `rejected` are texts, or whole conversations that share their prompt."""
    _, chosen = cells.values["chosen"]
    if isinstance(chosen, list):
        turns, other = cells.messages("chosen"), cells.messages("rejected")
        prompt = "\n\n".join(turn.content for turn in turns[:-1])
        instruction = cells.text("instruction", required=False) or prompt
        response, rejected = turns[-1].content, other[-1].content
    else:
        instruction = cells.text("instruction")
        response, rejected = cells.text("chosen"), cells.text("rejected")
    if response == rejected:
        raise BadValueError(
            "rejected", "it equals the chosen answer", "Give two different answers."
        )
    return Row(
        kind="preference",
        number=number,
        entry=entry,
        instruction=instruction,
        response=response,
        rejected=rejected,
        extra_wordings=cells.wordings(),
    )


def _chat_row(cells: _Cells, number: int, entry: str) -> Row:
    messages, wordings = cells.messages(), cells.wordings()
    return Row(kind="chat", number=number, entry=entry, messages=messages, extra_wordings=wordings)


def _text_row(cells: _Cells, number: int, entry: str) -> Row:
    return Row(kind="text", number=number, entry=entry, text=cells.text("text"))


_BUILDERS = {
    "instruction": _instruction_row,
    "preference": _preference_row,
    "chat": _chat_row,
    "text": _text_row,
}
