"""Token ids to text, a step at a time: no broken characters, nothing after a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

REPLACEMENT = "\ufffd"


class TextStream:
    """The text of one answer. Text is held back while it may be half a character or the start of
    a stop string; ``stopped`` is set when a stop string is complete, which is not part of the text.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], *, strip_start: bool) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._strip_start = strip_start
        self._ids: list[int] = []
        # Ids before ``_read`` are in the text; decoding starts at ``_window`` for its context.
        self._window = 0
        self._read = 0
        self._held = ""
        self.stopped = False

    def add(self, token_id: int) -> str:
        """The new text that is safe to show after one more token."""
        self._ids.append(token_id)
        return self._release(self._decode_new(final=False), final=False)

    def finish(self) -> str:
        """Everything that was held back and turned out to be ordinary text."""
        return "" if self.stopped else self._release(self._decode_new(final=True), final=True)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _decode_new(self, *, final: bool) -> str:
        known = self._decode(self._ids[self._window : self._read])
        whole = self._decode(self._ids[self._window :])
        if not final and (whole.endswith(REPLACEMENT) or len(whole) <= len(known)):
            return ""
        self._window, self._read = self._read, len(self._ids)
        return whole[len(known) :]

    def _release(self, new: str, *, final: bool) -> str:
        if self._strip_start:
            new = new.lstrip()
            self._strip_start = not new
        text = self._held + new
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if final else self._possible_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _possible_stop(self, text: str) -> int:
        """Length of the longest end of ``text`` that a stop string begins with."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stop):
                return size
        return 0
