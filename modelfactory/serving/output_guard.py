"""The output guard: words of private rows are held back before they leave. No Django, no torch.

A run's private rows are kept as keyed fingerprints of every `SPAN_WORDS` words in a row, sorted in
a file that is mapped, never read whole: no text lies in it, and a process that guards an answer
holds the last few words of that answer and nothing of any row.

Words are compared without case, signs and ways to write an accent, so that a comma or a capital
letter hides nothing. A paraphrase, a translation or a row of fewer words passes: see
docs/decisions/0026.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import re
import struct
import unicodedata
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

SPAN_WORDS = 8
"""So many consecutive words of a row are withheld; measured in `bench output_guard`."""
MARK = "[withheld: private data]"
MAGIC = b"OLGUARD1"
_HEADER = struct.Struct("<8sI16sQ")
_FINGERPRINT_BYTES = 8
# Scripts written without spaces count each sign as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
# Accents written by themselves, and signs that are not seen, are part of the word around them.
_INSIDE = "\u0300-\u036f\u00ad\u200b-\u200d\u2060\ufeff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|[{_INSIDE}])*")
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


class GuardDamagedError(Exception):
    """The file is missing, cut short, or was made with another key or span length."""


@dataclass(frozen=True)
class _Word:
    """A word as it is compared, and its characters [start, end) in what is not yet sent."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return [_plain(found[0]) for found in _WORD.finditer(text)]


def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word.translate(_UNSEEN)).casefold()


def fingerprint(key: bytes, words: Sequence[str]) -> int:
    """64 bits of a keyed BLAKE2b: without the key nobody can try words against a file."""
    text = "\x1f".join(words).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=_FINGERPRINT_BYTES, key=key).digest()
    return int.from_bytes(digest, "little")


def fingerprints_of(key: bytes, texts: Iterable[str]) -> Iterator[int]:
    """One for every `SPAN_WORDS` consecutive words of each text."""
    for text in texts:
        words = words_of(text)
        for at in range(len(words) - SPAN_WORDS + 1):
            yield fingerprint(key, words[at : at + SPAN_WORDS])


def write_guard(path: Path, key: bytes, texts: Iterable[str]) -> int:
    """Write the guard of `texts`, whole or not at all; returns how many fingerprints it holds."""
    kept = np.unique(np.fromiter(fingerprints_of(key, texts), dtype="<u8"))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(_HEADER.pack(MAGIC, SPAN_WORDS, _check_of(key), len(kept)))
        out.write(kept.data)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    return len(kept)


def _check_of(key: bytes) -> bytes:
    """Tells whether a file was made with this key: with another one it would catch nothing."""
    return hashlib.blake2b(b"output guard", digest_size=16, key=key).digest()


class GuardFile:
    """The fingerprints of one run, mapped from its file."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Raises `GuardDamagedError`."""
        self._key = key
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise GuardDamagedError("there is no guard of this run") from error
        try:
            magic, words, check, self._count = _HEADER.unpack_from(self._map)
        except struct.error as error:
            self._map.close()
            raise GuardDamagedError("the guard is cut short") from error
        whole = _HEADER.size + self._count * _FINGERPRINT_BYTES == len(self._map)
        if not (
            whole and magic == MAGIC and words == SPAN_WORDS
            and hmac.compare_digest(check, _check_of(key))
        ):  # fmt: skip
            self._map.close()
            raise GuardDamagedError("the guard is damaged, or was made for other settings")

    def __len__(self) -> int:
        return int(self._count)

    def __getitem__(self, place: int) -> int:
        at = _HEADER.size + place * _FINGERPRINT_BYTES
        return int.from_bytes(self._map[at : at + _FINGERPRINT_BYTES], "little")

    def holds(self, words: Sequence[str]) -> bool:
        """Whether these `SPAN_WORDS` words stand in a row, in this order."""
        wanted = fingerprint(self._key, words)
        place = bisect_left(self, wanted)
        return place < len(self) and self[place] == wanted

    def close(self) -> None:
        self._map.close()

    def __enter__(self) -> GuardFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Guard(Protocol):
    """Knows which words in a row must not leave."""

    def holds(self, words: Sequence[str]) -> bool: ...

    def close(self) -> None: ...


class TextGuard:
    """Guards a few short texts, and what the guard `beside` it holds."""

    def __init__(self, texts: Iterable[str], beside: Guard | None = None) -> None:
        self._held = {span for text in texts for span in _spans(words_of(text))}
        self._beside = beside

    def holds(self, words: Sequence[str]) -> bool:
        return tuple(words) in self._held or (
            self._beside is not None and self._beside.holds(words)
        )

    def close(self) -> None:
        if self._beside is not None:
            self._beside.close()


class StreamGuard:
    """Lets an answer through as it comes, some words late, with `MARK` in the place of spans.

    A span that the person wrote themselves is no secret to them: it passes, or the guard would tell
    whoever guesses a row that they guessed right. Words that go on from the end of what they wrote
    count with it, so that a row cannot be had a few words at a time by quoting its beginning.
    """

    def __init__(self, guard: Guard, asked: Sequence[str] = (), *, of_rows: bool = True) -> None:
        """`asked`: the texts that the person sent, the last one last; `of_rows`: whether private
        rows are among what the guard holds.
        """
        self._guard = guard
        self.of_rows = of_rows
        known = [words_of(text) for text in asked]
        self._known = {span for words in known for span in _spans(words)}
        tail = known[-1][-(SPAN_WORDS - 1) :] if known else []
        self._window: deque[str] = deque(tail, maxlen=SPAN_WORDS)
        self._text = ""
        self._words: list[tuple[_Word, bool]] = []
        """Words that may still turn out to belong to a span, and whether they do by now."""
        self._read = 0
        self._marked = False
        self.spans = 0
        self.read_characters = 0
        self.passed_characters = 0
        """Of the answer itself, without the marks."""

    def feed(self, text: str) -> str:
        """Take in more of the answer; returns what may be sent now."""
        self._text += text
        self.read_characters += len(text)
        # The last word may go on in the next piece, and an accent may still join its letter.
        complete = list(_WORD.finditer(self._text, self._read))[:-1]
        for found in complete:
            self._take(found)
        return self._release(len(self._words) - (SPAN_WORDS - 1))

    def finish(self) -> str:
        """The rest of the answer."""
        for found in list(_WORD.finditer(self._text, self._read)):
            self._take(found)
        sent = self._release(len(self._words))
        rest, self._text, self._read = self._text, "", 0
        self.passed_characters += len(rest)
        return sent + rest

    def close(self) -> None:
        self._guard.close()

    def _take(self, found: re.Match[str]) -> None:
        word = _Word(_plain(found[0]), found.start(), found.end())
        self._read = word.end
        self._window.append(word.text)
        self._words.append((word, False))
        span = tuple(self._window)
        if len(span) == SPAN_WORDS and span not in self._known and self._guard.holds(span):
            start = max(0, len(self._words) - SPAN_WORDS)
            self._words[start:] = [(each, True) for each, _ in self._words[start:]]

    def _release(self, count: int) -> str:
        """Send the first `count` words that wait, with the signs before each."""
        sent, sent_to = [], 0
        for word, withheld in self._words[: max(0, count)]:
            between = self._text[sent_to : word.start]
            if withheld:
                if not self._marked:
                    sent.append(between + MARK)
                    self.passed_characters += len(between)
                    self.spans += 1
            else:
                sent.append(self._text[sent_to : word.end])
                self.passed_characters += len(sent[-1])
            self._marked, sent_to = withheld, word.end
        self._words = [
            (_Word(word.text, word.start - sent_to, word.end - sent_to), withheld)
            for word, withheld in self._words[max(0, count) :]
        ]
        self._text, self._read = self._text[sent_to:], self._read - sent_to
        return "".join(sent)


def _spans(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + SPAN_WORDS]) for at in range(len(words) - SPAN_WORDS + 1))


def mask(guard: Guard, text: str, known: Sequence[str] = ()) -> str:
    """A whole text with its spans marked, except what stands in the `known` texts."""
    stream = StreamGuard(guard, known)
    return stream.feed(text) + stream.finish()
