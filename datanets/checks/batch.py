"""Many texts in one buffer, and the parts between their spaces as numbers: one look for all checks.

Promises, text by text, the parts of `text.lower().split()` and the words of
`re.findall(r"\\w+", text.lower())`. A part becomes the number of its text in a vocabulary, so what
is asked of a part (its words, its letters) is asked once of each *different* part of a thousand
texts. Text of ASCII alone lies in the buffer in bytes, other text in code points; the code is the
same for both. Tests compare it with the plain expressions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

SPACE, DIGIT, NUMBER, HEX, LINE_BREAK, _KNOWN = (1 << bit for bit in range(6))
"""Classes of a character. NUMBER is a digit or what may stand between the digits of a number."""
_BETWEEN_DIGITS = "().+/\\,;-\u2010\u2011\u2012\u2013\u2014\u2015"
_WORD = re.compile(r"\w+")


def _class_of(code: int) -> int:
    one = chr(code)
    return (
        SPACE * one.isspace()
        | DIGIT * one.isdecimal()
        | NUMBER * (one.isdecimal() or one.isspace() or one in _BETWEEN_DIGITS)
        | HEX * (one in "0123456789abcdefABCDEF")
        | LINE_BREAK * (len(f"{one}.".splitlines()) > 1)
        | _KNOWN
    )


_CLASSES = np.zeros(0x110000, dtype=np.uint8)
_CLASSES[:256] = [_class_of(code) for code in range(256)]
_CLASSES_OF_BYTES = _CLASSES[:256].tobytes()


@dataclass(frozen=True, slots=True)
class Words:
    """The words of text `t` are `distinct[number]` for the numbers `ids[first[t]:first[t + 1]]`."""

    ids: Integers
    first: Integers
    distinct: list[str]

    def texts_with(self, wanted: Booleans) -> Integers:
        """The texts that hold a word that is wanted, by its number."""
        places = np.flatnonzero(wanted[self.ids])
        return np.unique(np.searchsorted(self.first, places, side="right") - 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts in lower case in one buffer, each between two line breaks.

    Text `t` is `codes[starts[t]:ends[t]]`, and `place[t]` says which of all texts it is; its parts
    are `vocabulary[number]` for `ids[first[t]:first[t + 1]]`, and begin at `part_starts` there.
    `cuts[t]` is where its first characters end, as many as were asked for. `moved[t]` says that
    its lower case has another length or was taken in two pieces: of its parts only those before
    the cut are sure.
    """

    place: Integers
    lowered: list[str]
    codes: NDArray[Any]
    classes: NDArray[np.uint8]
    starts: Integers
    ends: Integers
    cuts: Integers
    moved: Booleans
    part_starts: Integers
    first: Integers
    ids: Integers
    vocabulary: list[str]

    def text_at(self, places: Integers) -> Integers:
        """The text that each place of the buffer is in."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def counts(self, marked: Booleans) -> Integers:
        """How many places of each text are marked."""
        marks = np.flatnonzero(marked)
        found: Integers = np.searchsorted(marks, self.ends) - np.searchsorted(marks, self.starts)
        return found

    def words(self) -> Words:
        """The words of the first characters of each text."""
        ids, first, vocabulary = self._parts_before_the_cut()
        pieces = [[part] if part.isalnum() else _WORD.findall(part) for part in vocabulary]
        numbers = {word: at for at, word in enumerate(dict.fromkeys(_flat(pieces)))}
        flat = np.array([numbers[word] for word in _flat(pieces)], dtype=np.int64)
        sizes = _lengths(pieces)
        begins = np.cumsum(sizes) - sizes
        # A part is a word nearly always; otherwise it is replaced by the words in it.
        sizes_here = sizes[ids]
        ends = np.concatenate(([0], np.cumsum(sizes_here)))
        shift = np.repeat(begins[ids] - ends[:-1], sizes_here)
        return Words(flat[shift + np.arange(len(shift))], ends[first], list(numbers))

    def _parts_before_the_cut(self) -> tuple[Integers, Integers, list[str]]:
        """Numbers of parts, where those of each text begin, and their vocabulary."""
        long = np.flatnonzero(self.cuts < self.ends).tolist()
        if not long:
            return self.ids, self.first, self.vocabulary
        ids, vocabulary = self.ids.copy(), list(self.vocabulary)
        kept = np.ones(len(ids), dtype=np.bool_)
        for text in long:
            last = int(np.searchsorted(self.part_starts, self.cuts[text])) - 1
            if last >= self.first[text]:
                begins = self.part_starts[last] - self.starts[text]
                cut = self.lowered[text][begins : self.cuts[text] - self.starts[text]]
                ids[last] = len(vocabulary)
                vocabulary.append(cut.strip())
            kept[max(last + 1, self.first[text]) : self.first[text + 1]] = False
        before = np.concatenate(([0], np.cumsum(kept)))
        return ids[kept], before[self.first], vocabulary


def batches(texts: Sequence[str], first_characters: int) -> Iterator[Batch]:
    """The texts of ASCII alone and the others, in a batch each; none for no text."""
    ascii_only = [text.isascii() for text in texts]
    for kind in (True, False):
        place = [at for at, one in enumerate(ascii_only) if one is kind]
        if place:
            yield _batch([texts[at] for at in place], place, first_characters, ascii_only=kind)


def _batch(texts: list[str], place: list[int], first_characters: int, *, ascii_only: bool) -> Batch:
    # In Greek the lower case of the first characters is not the start of that of all.
    heads = [text[:first_characters].lower() for text in texts]
    lowered = [
        head + text[first_characters:].lower() for head, text in zip(heads, texts, strict=True)
    ]
    codes, classes = characters("\n".join(["", *lowered, ""]))
    lengths, original = _lengths(lowered), _lengths(texts)
    ends = np.cumsum(lengths + 1)
    starts = ends - lengths
    filled = (classes & SPACE) == 0
    part_starts = np.flatnonzero(filled[1:] > filled[:-1]) + 1
    ids, vocabulary = _numbered(codes, part_starts)
    return Batch(
        place=np.array(place, dtype=np.int64),
        lowered=lowered,
        codes=codes,
        classes=classes,
        starts=starts,
        ends=ends,
        cuts=starts + _lengths(heads),
        moved=(lengths != original) | ((original > first_characters) & (not ascii_only)),
        part_starts=part_starts,
        first=np.searchsorted(part_starts, np.append(starts, len(codes))),
        ids=ids,
        vocabulary=vocabulary,
    )


def characters(text: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The code of each character, in a byte each where all are ASCII, and its classes."""
    if text.isascii():
        data = text.encode("ascii")
        classes = np.frombuffer(data.translate(_CLASSES_OF_BYTES), dtype=np.uint8)
        return np.frombuffer(data, dtype=np.uint8), classes
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return codes, _classes_of(codes)


def _numbered(codes: NDArray[Any], starts: Integers) -> tuple[Integers, list[str]]:
    """Parts as numbers of a vocabulary. Arrow numbers each with the space behind it, as it lies."""
    import pyarrow as pa  # only where texts are checked: the web process has no need of it

    size = codes.itemsize
    offsets = (np.append(starts, len(codes)) * size).astype(np.int32)
    found = pa.BinaryArray.from_buffers(
        pa.binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(codes)]
    ).dictionary_encode()
    spaced = _strings(found.dictionary, size)
    numbers = {part: at for at, part in enumerate(dict.fromkeys(map(str.strip, spaced)))}
    own = np.array([numbers[part.strip()] for part in spaced], dtype=np.int64)
    # Arrow's own way to numpy imports pandas, for two seconds.
    indices = np.frombuffer(found.indices.buffers()[1], dtype=np.int32, count=len(starts))
    return own[indices], list(numbers)


def _strings(array: pa.BinaryArray, size: int) -> list[str]:
    _, offsets, data = array.buffers()
    ends = (np.frombuffer(offsets, dtype=np.int32, count=len(array) + 1) // size).tolist()
    encoding = "ascii" if size == 1 else "utf-32-le"
    whole = str(data.to_pybytes()[: ends[-1] * size], encoding, "surrogatepass") if data else ""
    return [whole[start:end] for start, end in itertools.pairwise(ends)]


def _flat(pieces: Iterable[list[str]]) -> Iterator[str]:
    return (word for piece in pieces for word in piece)


def _lengths(texts: Iterable[Sequence[Any]]) -> Integers:
    return np.fromiter(map(len, texts), dtype=np.int64)


def _classes_of(codes: NDArray[Any]) -> NDArray[np.uint8]:
    classes: NDArray[np.uint8] = _CLASSES[codes]
    if not classes.all():
        new = np.unique(codes[classes == 0])
        _CLASSES[new] = [_class_of(code) for code in new.tolist()]
        classes = _CLASSES[codes]
    return classes
