"""JSON as its standard means it: no NaN, no repeated keys, no bottomless nesting.

The standard library's decoder recurses, takes NaN and lets the last of two equal keys win, so the
text is checked before the decoder sees it and the rest is refused through its hooks.
Arrays of any length are cut into their values without a decoder, because `ijson` was measured not
to end on two million opening brackets and would be a dependency for one function.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NoReturn

from datanets.parsing.result import (
    BadValueError,
    Limits,
    UploadRejectedError,
    too_large,
    wrong_content,
)
from datanets.parsing.text_lines import CHUNK_BYTES, place

# A whole string, the rest of an unfinished one, or a bracket. Possessive, so it cannot backtrack.
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def deepest_level(text: str) -> int:
    """How deep brackets nest, strings aside."""
    if text.count("[") + text.count("{") <= 1:
        return text.count("[") + text.count("{")
    level = deepest = 0
    for found in _STRUCTURE.finditer(text):
        if found[0] in "[{":
            level += 1
            deepest = max(deepest, level)
        elif found[0] in "]}":
            level -= 1
    return deepest


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse_constant(name: str) -> NoReturn:
    raise BadValueError("", f"{name} is not a JSON value", "Use null or a real number instead.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadValueError(
            twice[:80], f'the key "{twice[:80]}" appears twice', "Keep one of the two."
        )
    return values


def refuse_unstorable(text: str, column: str = "") -> None:
    """NUL and lone surrogates have no place in UTF-8 text or in the database."""
    if "\x00" in text:
        raise BadValueError(
            column, "it contains a NUL character (\\u0000)", "Remove that character."
        )
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise BadValueError(
            column,
            "it contains half of a surrogate pair (\\ud800 to \\udfff)",
            "Write the whole character, or remove it.",
        )


def _refuse_unstorable_anywhere(value: Any, column: str = "") -> None:
    if isinstance(value, str):
        refuse_unstorable(value, column)
    elif isinstance(value, list):
        for item in value:
            _refuse_unstorable_anywhere(item, column)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_unstorable_anywhere(key, column)
            _refuse_unstorable_anywhere(item, column or key)


@cache
def _decoder(number_characters: int) -> json.JSONDecoder:
    """Refuses longer numbers, and what is no JSON, by BadValueError."""

    def parse_integer(digits: str) -> int:
        return int(short_enough(digits))

    def parse_float(digits: str) -> float:
        number = float(short_enough(digits))
        if not math.isfinite(number):
            raise BadValueError("", f"the number {digits} is too large", "Write it as text.")
        return number

    def short_enough(digits: str) -> str:
        if len(digits) > number_characters:
            cause = f"a number has {len(digits)} characters, above {number_characters}"
            raise BadValueError("", cause, "Write it as text.")
        return digits

    return json.JSONDecoder(
        parse_constant=_refuse_constant,
        object_pairs_hook=_unique,
        parse_int=parse_integer,
        parse_float=parse_float,
    )


def loads(text: str, limits: Limits) -> Any:
    """One JSON value. Raises BadValueError with the cause, and nothing else, for any text."""
    levels = limits.nesting_levels
    if text.count("[") + text.count("{") > levels and deepest_level(text) > levels:
        raise BadValueError("", f"it is nested deeper than {levels} levels", "Flatten the row.")

    try:
        value = _decoder(limits.number_characters).decode(text)
    except json.JSONDecodeError as error:
        cause = f"it is not valid JSON: {error.msg} (character {error.pos + 1})"
        raise BadValueError("", cause, "Check the quotes, commas and brackets there.") from None
    if "\\u" in text or "\x00" in text:
        _refuse_unstorable_anywhere(value)
    return value


# A whole string, a bracket, a comma, or the quote of a string whose end has not arrived yet.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},"]', re.DOTALL)


class ValueSplitter:
    """Cuts a stream of characters into the texts of its top values, in constant memory.

    With `inside_array` the values are the items of one outer array; without, they follow one
    another, as pretty-printed objects do. What is inside a value is left to `loads`.
    """

    def __init__(self, limits: Limits, entry: str, *, inside_array: bool) -> None:
        self.limits, self.entry, self.inside_array = limits, entry, inside_array
        self.values_done = 0
        self._text, self._scanned = "", 0
        self._level = 0
        self._array_closed = False
        self._after_comma = False

    def split(self, pieces: Iterable[str]) -> Iterator[str]:
        """Value texts in order. Raises UploadRejectedError where the outer form is broken."""
        for piece in pieces:
            self._text += piece
            yield from self._complete_values()
            if len(self._text) > self.limits.line_bytes + CHUNK_BYTES:
                raise self._too_long()
        rest = self._text.strip()
        if self.inside_array and not self._array_closed:
            raise self._broken("the array is never closed; the file may be cut short")
        if rest and self.inside_array:
            raise self._broken("there is more text after the end of the array")
        if rest:
            yield rest

    def _complete_values(self) -> Iterator[str]:
        """The values whose end is in the buffer; keeps the unfinished rest."""
        value_start = 0
        at = self._scanned
        while found := _TOKEN.search(self._text, at):
            mark = found[0]
            if mark == '"':
                at = found.start()
                break
            at = found.end()
            if self._array_closed:
                raise self._broken("there is more text after the end of the array")
            end, next_start = self._boundary(mark, found)
            if next_start is not None:
                if end is not None and (value := self._checked(self._text[value_start:end])):
                    yield value
                    self.values_done += 1
                value_start = next_start
        else:
            at = len(self._text)
        self._text, self._scanned = self._text[value_start:], at - value_start

    def _boundary(self, mark: str, found: re.Match[str]) -> tuple[int | None, int | None]:
        """(end of the value that `mark` closes, start of the next one), None for neither."""
        outer = 1 if self.inside_array else 0
        if mark in "[{":
            self._level += 1
            if self._level > self.limits.nesting_levels + outer:
                raise self._too_deep()
            return (None, found.end()) if self._level == outer else (None, None)
        if mark in "]}":
            self._level -= 1
            if self._level < 0:
                raise self._broken(f"there is a {mark} that nothing opened")
            if self._level == 0:
                self._array_closed = self.inside_array
                end = found.start() if self.inside_array else found.end()
                return end, found.end()
        elif mark == "," and self._level == outer and self.inside_array:
            self._after_comma = True
            return found.start(), found.end()
        return None, None

    def _checked(self, text: str) -> str:
        value = text.strip()
        if len(value) > self.limits.line_bytes:
            raise self._too_long()
        if self.inside_array and not value and (self._after_comma or self.values_done):
            raise self._broken("a value is missing beside a comma")
        return value

    def _where(self) -> str:
        return place(self.entry, f"row {self.values_done + 1}")

    def _broken(self, what: str) -> UploadRejectedError:
        where = self._where()
        return wrong_content(
            "broken_json",
            f"The JSON breaks at {where}: {what}.",
            where=where,
            remedy="Check the commas and brackets there, or send one object a line (.jsonl).",
        )

    def _too_deep(self) -> UploadRejectedError:
        levels, where = self.limits.nesting_levels, self._where()
        return wrong_content(
            "nested_too_deep",
            f"The JSON at {where} is nested deeper than {levels} levels.",
            where=where,
            limit=f"{levels} levels",
            remedy="Send a flat array of objects.",
        )

    def _too_long(self) -> UploadRejectedError:
        size, where = self.limits.line_bytes, self._where()
        return too_large(
            "row_too_long",
            f"The value at {where} is longer than {size:,} bytes.",
            where=where,
            limit=f"{size:,} bytes a row",
            remedy="Send an array of objects, one object a row, and split long texts.",
        )
