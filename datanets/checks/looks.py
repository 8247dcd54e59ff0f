"""Which rows of a batch a check must look at, found for all of them at once.

Promises that a check has nothing to say about a row that is not named here: what is computed may
be too careful, never too lax, and the check itself always decides. Nearly all rows of nearly all
uploads are spared nearly all checks this way. Tests compare it with asking every check of each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datanets.checks import text_rules, toxicity
from datanets.checks.batch import (
    DIGIT,
    HEX,
    LINE_BREAK,
    NUMBER,
    SPACE,
    Batch,
    Booleans,
    Integers,
    Words,
    batches,
    characters,
)
from datanets.checks.duplicates import BANDS, CHARACTERS_MAX, PERMUTATIONS, keys_of_words

Unsigned = NDArray[np.uint64]

_NUMBER_LENGTH = 6
# Rows and numbers of parts share 64 bits, so that plain sorts bring equal phrases together.
_ROW_BITS, _PART_BITS = 10, 27
ROWS_MAX = 1 << _ROW_BITS
_NUMBER_BITS = np.uint64(2 * _PART_BITS)
_PART = (1 << _PART_BITS) - 1
_NUMBERS = (np.uint64(1) << _NUMBER_BITS) - np.uint64(1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
# Both ends of a phrase of three or four words are pairs that come as often, and make up all of it.
_PAIR_SHARE = min(limit / (1 if size == 2 else 2) for size, limit in text_rules.TOP_PHRASES)


@dataclass(frozen=True, slots=True)
class Looks:
    """What is known of each text: `keys` are its band keys, int64 of shape (texts, BANDS).

    `sketches` are those of `duplicates.keys_of_words`, bytes of shape (texts, PERMUTATIONS).
    `rules` are the groups of `text_rules` to be asked, as its `look`; `toxic` and `personal` say
    whether the list of abuse and the patterns of personal data are. `plain` are texts of ASCII
    whose only white space is single spaces between words.
    """

    keys: NDArray[np.int64]
    sketches: NDArray[np.uint8]
    rules: Integers
    toxic: Booleans
    personal: Booleans
    plain: Booleans


def look_at(texts: Sequence[str], prose: Sequence[bool]) -> Looks:
    """At most `ROWS_MAX` texts; `prose` as in `text_rules.text_findings`."""
    looks = Looks(
        np.empty((len(texts), BANDS), dtype=np.int64),
        np.empty((len(texts), PERMUTATIONS), dtype=np.uint8),
        np.zeros(len(texts), dtype=np.int64),
        np.zeros(len(texts), dtype=np.bool_),
        np.zeros(len(texts), dtype=np.bool_),
        np.zeros(len(texts), dtype=np.bool_),
    )
    kinds = np.array(prose, dtype=np.bool_)
    for batch in batches(texts, CHARACTERS_MAX):
        words = batch.words()
        looks.keys[batch.place], looks.sketches[batch.place] = keys_of_words(words)
        looks.rules[batch.place] = _rules(batch, kinds[batch.place])
        looks.toxic[batch.place] = _toxic(batch, words)
        looks.personal[batch.place] = _personal(batch)
        looks.plain[batch.place] = _plain(batch)
    return looks


def _toxic(batch: Batch, words: Words) -> Booleans:
    """Texts with a word that all that is listed needs one of, or with words we did not see."""
    found: Booleans = batch.cuts < batch.ends
    wanted = np.array([word in toxicity.SIGNS for word in words.distinct], dtype=np.bool_)
    if wanted.any():
        found[words.texts_with(wanted)] = True
    return found


def _personal(batch: Batch) -> Booleans:
    """Texts in which `personal_data.MAY_HOLD_SOME` finds something."""
    found = batch.moved.copy()
    found[batch.text_at(_signs_of_personal_data(batch.codes, batch.classes))] = True
    return found


def may_hold_personal_data(text: str) -> bool:
    """Whether `MAY_HOLD_SOME` may find something in this, or in what it says as JSON."""
    return len(_signs_of_personal_data(*characters(f"\n{text}\n"))) > 0


def _signs_of_personal_data(codes: NDArray[Any], classes: NDArray[np.uint8]) -> Integers:
    """Places where an alternative of `MAY_HOLD_SOME` matches; no text is at either end."""
    colons = np.flatnonzero(codes == ord(":"))
    twice = codes[colons + 1] == ord(":")
    between = (classes[colons - 1] & classes[colons + 1] & HEX) != 0
    number = (classes & NUMBER) != 0
    number[1:] |= codes[:-1] == ord("\\")  # in JSON, white space; of \u000b so much
    size = max(0, len(codes) - _NUMBER_LENGTH + 1)
    runs = (classes[:size] & DIGIT) != 0
    for place in range(1, _NUMBER_LENGTH):
        runs &= number[place : size + place]
    at_signs = np.flatnonzero(codes == ord("@"))
    return np.concatenate((at_signs, colons[twice | between], np.flatnonzero(runs)))


def _plain(batch: Batch) -> Booleans:
    if batch.codes.itemsize > 1:
        return np.zeros(len(batch.place), dtype=np.bool_)
    space = (batch.classes & SPACE) != 0
    twice = np.flatnonzero(space[1:] & space[:-1])
    # The line breaks around a text count: one beside a space is a space at its end.
    doubled = np.searchsorted(twice, batch.ends) - np.searchsorted(twice, batch.starts - 1)
    other = batch.counts(space & (batch.codes != ord(" ")))
    plain: Booleans = (doubled == 0) & (other == 0)
    return plain


def _rules(batch: Batch, prose: Booleans) -> Integers:
    """Groups of rules of `text_rules` that may find something in each text."""
    counts = np.diff(batch.first)
    long_enough = counts >= text_rules.WORDS_MIN
    breaks = batch.counts((batch.classes & LINE_BREAK) != 0)
    look = text_rules.LINES * (long_enough & (breaks >= text_rules.LINES_MIN - 1))
    lengths = np.fromiter(map(len, batch.vocabulary), dtype=np.int64)[batch.ids]
    look |= text_rules.WORDS * (long_enough & _odd_words(batch, counts, lengths))
    look |= long_enough * _repetition(batch, counts, lengths)
    look |= text_rules.STOP_WORDS * (prose & long_enough & _without_stop_words(batch, prose))
    look |= text_rules.PLACEHOLDERS * _holding(batch, ("lorem ipsum",), np.ones_like(prose))
    look |= text_rules.PLACEHOLDERS * _holding(batch, text_rules.NOTICE_SIGNS, prose)
    look[batch.moved] = text_rules.EVERYTHING
    return look


def _odd_words(batch: Batch, counts: Integers, lengths: Integers) -> Booleans:
    """Words too short, too long or without letters, or symbols among them.

    `lengths` are those of the parts.
    """
    parts = np.maximum(counts, 1)
    mean = _sums(lengths, batch.first) / parts
    letters = np.array([any(map(str.isalpha, part)) for part in batch.vocabulary], dtype=np.bool_)
    lettered = _sums(letters[batch.ids], batch.first) / parts
    dots = batch.counts(batch.codes == ord(".")) // 3
    symbols = np.maximum(batch.counts(batch.codes == ord("#")), dots)
    if batch.codes.itemsize > 1:
        symbols = np.maximum(symbols, dots + batch.counts(batch.codes == ord("…")))
    odd: Booleans = (mean < 3) | (mean > 10) | (lettered < 0.8) | (symbols / parts > 0.1)
    return odd


def _repetition(batch: Batch, counts: Integers, lengths: Integers) -> Integers:
    """PHRASES where a pair of words makes up much, PASSAGES where a phrase of five comes again."""
    ids, texts = batch.ids, np.repeat(np.arange(len(counts)), counts)
    first = batch.first
    if counts.max(initial=0) > text_rules.WORDS_MAX:
        read = np.arange(len(ids)) - first[texts] < text_rules.WORDS_MAX
        ids, texts, lengths = ids[read], texts[read], lengths[read]
        first = np.concatenate(([0], np.cumsum(np.minimum(counts, text_rules.WORDS_MAX))))
    characters = _sums(lengths, first)
    found = np.zeros(len(counts), dtype=np.int64)
    pairs, more = np.unique(_repeated(_phrases(ids, texts, 2, _pair)), return_counts=True)
    text, pair = _apart(pairs)
    size = [
        len(batch.vocabulary[one >> _PART_BITS]) + len(batch.vocabulary[one & _PART])
        for one in pair.tolist()
    ]
    share = (more + 1) * size / characters[text]
    found[text[share > _PAIR_SHARE]] = text_rules.PHRASES
    passages = _phrases(ids, texts, text_rules.REPEATED_PHRASES[0][0], _mixed)
    found[np.unique(_apart(_repeated(passages))[0])] |= text_rules.PASSAGES
    return found


def _phrases(
    ids: Integers, texts: Integers, size: int, join: Callable[[Unsigned, Unsigned], Unsigned]
) -> Unsigned:
    """Each phrase of that many parts within a text: its text in the high bits, then its number."""
    count = max(0, len(ids) - size + 1)
    numbers = ids.astype(np.uint64)
    phrases = numbers[:count]
    for place in range(1, size):
        phrases = join(phrases, numbers[place : count + place])
    within = texts[:count] == texts[size - 1 :]
    own: Unsigned = (texts[:count].astype(np.uint64) << _NUMBER_BITS | phrases & _NUMBERS)[within]
    return own


def _pair(one: Unsigned, other: Unsigned) -> Unsigned:
    pair: Unsigned = one << np.uint64(_PART_BITS) | other
    return pair


def _mixed(phrase: Unsigned, part: Unsigned) -> Unsigned:
    mixed: Unsigned = (phrase + part) * _MIX
    return mixed ^ (mixed >> np.uint64(29))


def _apart(phrases: Unsigned) -> tuple[Integers, Integers]:
    """Text and number of each phrase."""
    return (phrases >> _NUMBER_BITS).astype(np.int64), (phrases & _NUMBERS).astype(np.int64)


def _repeated(values: Unsigned) -> Unsigned:
    """Each value as often as it comes, less one."""
    values.sort()
    repeated: Unsigned = values[1:][values[1:] == values[:-1]]
    return repeated


def _without_stop_words(batch: Batch, prose: Booleans) -> Booleans:
    """Texts with fewer than two different stop words among their parts."""
    known = np.zeros(len(prose), dtype=np.int64)
    if prose.any():
        for number, part in enumerate(batch.vocabulary):
            if part in text_rules.STOP_WORDS_KNOWN:
                places = np.flatnonzero(batch.ids == number)
                known[np.unique(np.searchsorted(batch.first, places, side="right") - 1)] += 1
    return known < 2


def _holding(batch: Batch, signs: Iterable[str], among: Booleans) -> Booleans:
    """Texts among those asked of that hold one of the signs."""
    found = np.zeros(len(among), dtype=np.bool_)
    asked = np.flatnonzero(among).tolist()
    if not asked:
        return found
    together = "\n".join(batch.lowered[text] for text in asked)
    for sign in signs:
        if sign in together:
            found[[text for text in asked if sign in batch.lowered[text]]] = True
    return found


def _sums(values: NDArray[Any], first: Integers) -> Integers:
    """The sum of each text's values; `first` as in `Batch`."""
    sums = np.zeros(len(first) - 1, dtype=np.int64)
    filled = first[1:] > first[:-1]
    if filled.any():
        sums[filled] = np.add.reduceat(values, first[:-1][filled], dtype=np.int64)
    return sums
