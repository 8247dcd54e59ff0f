"""Texts as lists of words, in arrays: a million short texts take some hundred megabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

UInt32 = npt.NDArray[np.uint32]
Int64 = npt.NDArray[np.int64]


class Words:
    """The words of texts as numbers: text i has ``ids[ends[i - 1]:ends[i]]`` of ``vocabulary``.

    The vocabulary is sorted and holds no word that no text has.
    """

    def __init__(self, vocabulary: Sequence[str], ids: UInt32, ends: Int64) -> None:
        self.vocabulary, self.ids, self.ends = tuple(vocabulary), ids, ends

    @classmethod
    def of(cls, documents: Iterable[Sequence[str]]) -> Words:
        numbers: dict[str, int] = {}
        found, ends = array("I"), array("q")
        for document in documents:
            found.extend(numbers.setdefault(word, len(numbers)) for word in document)
            ends.append(len(found))
        ids = np.array(found, dtype=np.uint32)
        return cls(list(numbers), ids, np.array(ends, dtype=np.int64))._tidied()

    def _tidied(self) -> Words:
        """The same texts over the sorted words that they use."""
        used = np.unique(self.ids)
        words = [self.vocabulary[at] for at in used]
        order = sorted(range(len(words)), key=words.__getitem__)
        places: UInt32 = np.zeros(max(len(self.vocabulary), 1), dtype=np.uint32)
        places[used[order]] = np.arange(len(order), dtype=np.uint32)
        return Words([words[at] for at in order], places[self.ids], self.ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        """The numbers of each text's words; made when asked for, since they take much memory."""
        start = 0
        for end in self.ends.tolist():
            yield self.ids[start:end].tolist()
            start = end

    def kept(self, keep: npt.NDArray[np.bool_]) -> Words:
        """The texts where ``keep`` [n] is true, without words that only others had."""
        lengths = np.diff(self.ends, prepend=np.int64(0))
        return Words(
            self.vocabulary, self.ids[np.repeat(keep, lengths)], np.cumsum(lengths[keep])
        )._tidied()

    def with_more(self, more: Words, at: int) -> Words:
        """The texts of ``more`` put in before text ``at``."""
        own, other = np.split(self.ends, [at]), more.ends
        start = int(own[0][-1]) if at else 0
        shifted = more.ids + np.uint32(len(self.vocabulary))
        ids = np.concatenate([self.ids[:start], shifted, self.ids[start:]]).astype(np.uint32)
        added = int(other[-1]) if len(other) else 0
        ends = np.concatenate([own[0], other + start, own[1] + added])
        return Words((*self.vocabulary, *more.vocabulary), ids, ends)._merged()

    def beside(self, other: Words) -> Words:
        """Each text followed by the text of ``other`` at the same place; cut to the shorter."""
        count = min(len(self), len(other))
        left, right = self._starts(), other._starts()
        shift = np.uint32(len(self.vocabulary))
        parts = [
            part
            for at in range(count)
            for part in (
                self.ids[left[at] : left[at + 1]],
                other.ids[right[at] : right[at + 1]] + shift,
            )
        ]
        ids = np.concatenate([np.zeros(0, dtype=np.uint32), *parts]).astype(np.uint32)
        ends = left[1 : count + 1] + right[1 : count + 1]
        return Words((*self.vocabulary, *other.vocabulary), ids, ends)._merged()

    def _starts(self) -> Int64:
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends])

    def _merged(self) -> Words:
        """One number for each word, where the vocabulary has some twice."""
        numbers = {word: at for at, word in enumerate(self.vocabulary)}
        places = np.array([numbers[word] for word in self.vocabulary] or [0], dtype=np.uint32)
        return Words(self.vocabulary, places[self.ids], self.ends)._tidied()
