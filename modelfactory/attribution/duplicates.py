"""Clusters of near-duplicate records, so that a copy of a row earns nothing of its own.

Two records are near-duplicates when they *ask the same*, and besides

* their word shingles agree (Jaccard similarity, Broder 1997): copies, other case, small edits; or
* one says all that the other says, and training on either moved the adapter the same way (cosine
  of their sketched gradients): rewordings and padded answers.

Neither agreement is enough alone. Half of a real health Datanet answers different questions in one
template ("This condition is inherited in an autosomal recessive pattern …"), with gradients as
alike as those of a rewording; docs/experiments.md has the figures behind each threshold.

"The same" is asked when the words of the lighter question stand in the other, rare words weighing
more: names outweigh "inherited" and "treatments". Only pairs that collide in MinHash bands or
whose questions share a rare word are compared. A cluster is a canonical row with the younger rows
that are like it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from modelfactory.attribution.lexical import words
from modelfactory.attribution.phantoms import Statement

_WORD = re.compile(r"\w+", re.UNICODE)
SHINGLE_WORDS = 2

BANDS, ROWS_PER_BAND = 42, 3
"""A pair that shares half of its words collides with probability .996, one that shares a tenth with
.04."""
MINHASH_SEED = 20_261_126
BUCKET_ROWS = 64
"""A row is compared with at most so many of the oldest rows of a bucket, so that a template which
thousands of rows share costs no square. A copy shares all buckets, and so the rare ones. A word
that stands in more questions than this is not rare."""
BLOCK = 4096

Words = frozenset[str]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.int8]


@dataclass(frozen=True)
class DuplicateRule:
    """From which agreement on two records are near-duplicates; each from 0 to 1."""

    prompt_agreement: float = 0.65
    shingle_jaccard: float = 0.8
    response_agreement: float = 0.8
    gradient_cosine: float = 0.25


def shingles(text: str, shingle_words: int = SHINGLE_WORDS) -> Words:
    """Word n-grams of the NFKC-folded, case-folded text; short texts give one whole shingle."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if len(found) <= shingle_words:
        return frozenset({" ".join(found)}) if found else frozenset()
    last = len(found) - shingle_words + 1
    return frozenset(" ".join(found[at : at + shingle_words]) for at in range(last))


def jaccard(left: Words, right: Words) -> float:
    """Size of the intersection over size of the union; two empty sets are unlike."""
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def cluster_positions(
    records: Sequence[Statement],
    gradients: Rows | None = None,
    rule: DuplicateRule | None = None,
    wordings: Sequence[Sequence[str]] = (),
) -> list[int]:
    """For each record the position of its cluster's canonical row: the first, given oldest first.

    ``gradients`` [n, k] are the records' sketched gradients at *one* moment of training, best an
    early one: the gradient of a row known by heart points nowhere. Without them only copies and
    small edits are found. ``wordings`` are the further prompts that each record was trained with:
    two records ask the same where any of theirs do. The same for the same input; no random numbers
    but those of a fixed seed.

    A row joins the oldest canonical row that it is like *itself*. It unites no two older rows:
    whoever wrote one that says what both say would otherwise take the younger one's pay.
    """
    rule = rule or DuplicateRule()
    asked = _Asked(records, wordings, rule)
    alike = _Alike(asked, gradients, rule)
    older: list[set[int]] = [set() for _ in records]
    for one, other in candidate_pairs(asked.statements, asked.prompts):
        earlier, later = sorted((asked.owners[one], asked.owners[other]))
        if earlier != later and earlier not in older[later] and alike(one, other):
            older[later].add(earlier)
    canonical = list(range(len(records)))
    for position, candidates in enumerate(older):
        canonical[position] = min(
            (earlier for earlier in candidates if canonical[earlier] == earlier), default=position
        )
    return canonical


class _Asked:
    """Every way in which the records ask: first each one's own prompt, then those of its further
    wordings that ask something else, by the rule for two records. The usual rewordings of one
    question would only be compared with themselves.
    """

    def __init__(
        self, records: Sequence[Statement], wordings: Sequence[Sequence[str]], rule: DuplicateRule
    ) -> None:
        self.statements = list(records)
        self.owners = list(range(len(records)))
        self.prompts = prompt_words(records)
        seen = Counter(word for prompt in self.prompts for word in prompt)
        self._rarity = {word: math.log(1 + len(records) / count) for word, count in seen.items()}
        self._rarest = math.log(1 + len(records))
        for owner, further in enumerate(wordings):
            known = {self.prompts[owner]}
            for text in further:
                prompt = frozenset(words(_folded(text)))
                if all(self.agreement(prompt, one) < rule.prompt_agreement for one in known):
                    known.add(prompt)
                    self.statements.append(Statement(text, records[owner].response))
                    self.owners.append(owner)
                    self.prompts.append(prompt)

    def agreement(self, left: Words, right: Words) -> float:
        """The weight of the shared words over that of the lighter prompt."""
        if left == right:
            return 1.0
        lighter = min(self._weight(left), self._weight(right))
        return self._weight(left & right) / lighter if lighter else 0.0

    def _weight(self, prompt: Words) -> float:
        return math.fsum(self._rarity.get(word, self._rarest) for word in prompt)


def prompt_words(records: Sequence[Statement]) -> list[Words]:
    """The words of each question that say what it asks for."""
    return [frozenset(words(_folded(record.prompt))) for record in records]


def candidate_pairs(
    records: Sequence[Statement], prompts: Sequence[Words]
) -> Iterator[tuple[int, int]]:
    """Positions (earlier, later) of records that are worth comparing; a pair may come often."""
    yield from _share_most_words(records)
    yield from _share_a_rare_word(prompts)


def _share_a_rare_word(prompts: Sequence[Words]) -> Iterator[tuple[int, int]]:
    """Pairs whose questions share a word that few questions have. However much is written around a
    short answer, a copy asks the same, and so has the rare words of the question."""
    having: dict[str, list[int]] = defaultdict(list)
    for at, prompt in enumerate(prompts):
        for word in prompt:
            having[word].append(at)
    for positions in having.values():
        if len(positions) <= BUCKET_ROWS:
            yield from combinations(positions, 2)


def _share_most_words(records: Sequence[Statement]) -> Iterator[tuple[int, int]]:
    """Pairs whose words collide in a MinHash band, band by band."""
    digests = _digests(records)
    for band in range(BANDS):
        part = digests[:, band * ROWS_PER_BAND : (band + 1) * ROWS_PER_BAND]
        order = np.lexsort(part.T)  # stable: the rows of a bucket stay oldest first
        changed = (part[order[1:]] != part[order[:-1]]).any(axis=1)
        for bucket in np.split(order, np.flatnonzero(changed) + 1):
            for place, later in enumerate(bucket[1:].tolist(), start=1):
                for earlier in bucket[: min(place, BUCKET_ROWS)].tolist():
                    yield earlier, later


def _digests(records: Sequence[Statement]) -> npt.NDArray[np.uint32]:
    """MinHash digests [n, BANDS * ROWS_PER_BAND]; in blocks, since they come as lists of ints."""
    count = BANDS * ROWS_PER_BAND
    digests = np.empty((len(records), count), dtype=np.uint32)
    for start in range(0, len(records), BLOCK):
        tokens = [_tokens(record) for record in records[start : start + BLOCK]]
        found = RMinHash.digests_from_token_sets(tokens, count, MINHASH_SEED)
        digests[start : start + BLOCK] = found
    return digests


def _tokens(record: Statement) -> list[str]:
    """What a record is hashed by: its words, or its shingles where all words are common ones. Two
    records without either collide, and are unlike."""
    text = f"{record.prompt} {record.response}"
    return sorted(set(words(_folded(text))) or shingles(text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


class _Alike:
    """Decides about pairs of positions; a record is taken apart when it is first asked about."""

    def __init__(self, asked: _Asked, gradients: Rows | None, rule: DuplicateRule) -> None:
        self._asked, self._gradients, self._rule = asked, gradients, rule
        self._texts: dict[int, tuple[Words, Words]] = {}

    def __call__(self, one: int, other: int) -> bool:
        rule = self._rule
        prompts = self._asked.prompts
        if self._asked.agreement(prompts[one], prompts[other]) < rule.prompt_agreement:
            return False
        (shingles_one, words_one), (shingles_other, words_other) = (
            self._text(one),
            self._text(other),
        )
        if jaccard(shingles_one, shingles_other) >= rule.shingle_jaccard:
            return True
        fewer = min(len(words_one), len(words_other))
        return (
            fewer > 0
            and len(words_one & words_other) >= rule.response_agreement * fewer
            and self._cosine(one, other) >= rule.gradient_cosine
        )

    def _text(self, at: int) -> tuple[Words, Words]:
        """Shingles of the whole record, words of its response."""
        if at not in self._texts:
            record = self._asked.statements[at]
            response = _WORD.findall(_folded(record.response))
            whole = shingles(f"{record.prompt} {record.response}")
            self._texts[at] = (whole, frozenset(response))
        return self._texts[at]

    def _cosine(self, one: int, other: int) -> float:
        if self._gradients is None:
            return -1.0
        owners = self._asked.owners
        left = self._gradients[owners[one]].astype(np.float64)
        right = self._gradients[owners[other]].astype(np.float64)
        lengths = math.sqrt(float(left @ left) * float(right @ right))
        return float(left @ right) / lengths if lengths else 0.0
