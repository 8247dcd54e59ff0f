"""BM25 over record texts (Robertson & Zaragoza 2009, by ``bm25s``), in memory and torch-free.

Shown beside every influence score: a gradient method that finds less than word overlap does has to
say so. Also the retriever that puts records into the prompt at answer time.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modelfactory.attribution.word_lists import Words

if TYPE_CHECKING:
    import bm25s

_WORD = re.compile(r"\w+", re.UNICODE)
_INNER_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Words so common in questions that they only add noise to short records.
_COMMON_LINE = (
    "a an and are as at be by can did do does for from has have how i in is it its me my of on or "
    "that the this to was what when where which who why will with would you your"
)
_COMMON = frozenset(_COMMON_LINE.split())


def words(text: str) -> list[str]:
    """Lower-case words; ``ZeroDivisionError`` counts as itself and as its three parts."""
    found: list[str] = []
    for word in _WORD.findall(text):
        whole = word.lower()
        if whole in _COMMON:
            continue
        found.append(whole)
        parts = [part.lower() for part in _INNER_CAPITAL.sub(" ", word).replace("_", " ").split()]
        if len(parts) > 1:
            found.extend(part for part in parts if part not in _COMMON)
    return found


@dataclass(frozen=True)
class Hit:
    """A retrieved text: its position in the corpus and its BM25 score."""

    position: int
    score: float


class LexicalIndex:
    """BM25 over texts; positions are theirs.

    ``salt`` replaces every word by a keyed hash, so that an index on disk holds no readable text.
    """

    def __init__(self, words: Words, salt: bytes = b"") -> None:
        self._count, self._salt = len(words), salt
        self._index: bm25s.BM25 | None = None
        if len(words.ids):
            import bm25s  # loads numba: 60 MB that a web process needs for its first answer only

            self._index = bm25s.BM25(backend="numpy")
            numbers = {word: at for at, word in enumerate(words.vocabulary)}
            self._index.index(bm25s.tokenization.Tokenized(words, numbers), show_progress=False)

    @classmethod
    def from_texts(cls, texts: Sequence[str], salt: bytes = b"") -> LexicalIndex:
        return cls(words_of_texts(texts, salt), salt)

    def words_of(self, question: str) -> tuple[str, ...]:
        """The words of ``question`` as this index knows them, hashed where it is salted."""
        return tuple(_salted(words(question), self._salt))

    def scores(self, question: str) -> npt.NDArray[np.float64]:
        """BM25 of every text [n] for ``question``; zeros when no word is known."""
        return self.scores_of(self.words_of(question))

    def scores_of(self, own_words: Sequence[str]) -> npt.NDArray[np.float64]:
        """As ``scores``, for what ``words_of`` gave."""
        if self._index is None:
            return np.zeros(self._count)
        vocabulary = self._index.vocab_dict
        known = [word for word in own_words if word in vocabulary]
        if not known:
            return np.zeros(self._count)
        return np.asarray(self._index.get_scores(known), dtype=np.float64)

    def weights(self, question: str) -> tuple[dict[str, float], float]:
        """What each word of ``question`` that some text holds weighs, the rarer the more (BM25's
        idf), and what one that no text holds weighs; 0 where there is none.
        """
        known, unknown = {}, 0.0
        for word in self.words_of(question):
            count = int(np.count_nonzero(self.scores_of([word])))
            weight = math.log(1 + (self._count - count + 0.5) / (count + 0.5))
            if count:
                known[word] = weight
            else:
                unknown = weight
        return known, unknown

    def about(self, question: str, texts: Sequence[str]) -> list[bool]:
        """Whether each of ``texts`` holds at least half of what the question's words weigh.

        A text that shares "what is known about" with a question on robins is no source on robins.
        Of the words that no text of the index has one counts, so that a politely wrapped question
        is not refused. ``python -m bench sources`` says how often this errs.
        """
        known, unknown = self.weights(question)
        half = (sum(known.values()) + unknown) / 2
        held = [known.keys() & set(self.words_of(text)) for text in texts]
        return [sum(known[word] for word in found) >= half > 0 for found in held]

    def retrieve(self, question: str, k: int) -> list[Hit]:
        """The at most ``k`` best texts with a positive score, best first, ties by position."""
        scores = self.scores(question)
        order = np.argsort(-scores, kind="stable")[:k]
        return [Hit(int(at), float(scores[at])) for at in order if scores[at] > 0]


def words_of_texts(texts: Iterable[str], salt: bytes = b"") -> Words:
    """The words of each text, hashed where there is a salt."""
    known: dict[str, str] = {}  # most words come again
    return Words.of(_salted(words(text), salt, known) for text in texts)


def _salted(found: list[str], salt: bytes, known: dict[str, str] | None = None) -> list[str]:
    if not salt:
        return found
    known = {} if known is None else known
    for word in found:
        if word not in known:
            digest = hashlib.blake2b(word.encode(), key=salt, digest_size=8)
            known[word] = digest.hexdigest()
    return [known[word] for word in found]
