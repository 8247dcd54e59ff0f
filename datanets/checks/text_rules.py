"""The rules of Gopher, C4 and FineWeb, as labels with their number.

They were made to throw away web pages. A correct short answer fails several of them (50 words,
five sentences, no `{`), so those are left out, and the rules about lines are asked of plain text
only. Thresholds are those of datatrove's filters; sources in `findings.RULES`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from datanets.checks.findings import Finding

WORDS_MIN = 20
"""Shorter text has no statistics."""
PROSE_WORDS_MIN = 50
LINES_MIN = 5
STOP_WORDS_KNOWN = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
TOP_PHRASES = ((2, 0.20), (3, 0.18), (4, 0.16))
REPEATED_PHRASES = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
WORDS_MAX = 5_000
"""Phrases are counted in the first this many words: the memory of a row stays small."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_BULLET = re.compile(r"^\s*[-*•‣●○▪–]")  # noqa: RUF001 (bullets as people type them)
_ENDS_IN_PUNCTUATION = re.compile(r"[.!?…:;\"'”’)。！？]\s*$")  # noqa: RUF001 (full-width stops)
_NOTICE = re.compile(
    r"javascript (?:is (?:disabled|required)|must be enabled)|enable javascript|use of cookies"
    r"|uses cookies|cookie policy|terms of use|privacy policy"
)
NOTICE_SIGNS = ("javascript", "cookie", "terms of use", "privacy policy")
"""Every notice holds one of them."""


PLACEHOLDERS, WORDS, PHRASES, PASSAGES, LINES, STOP_WORDS = (1 << bit for bit in range(6))
"""Groups of rules; the sum of some says which of them are asked."""
EVERYTHING = PLACEHOLDERS | WORDS | PHRASES | PASSAGES | LINES | STOP_WORDS


def text_findings(
    text: str, *, prose: bool, language: str = "", look: int = EVERYTHING
) -> Iterator[Finding]:
    """`prose` is true for plain text, whose lines and style are judged too.

    `language` is an ISO 639-1 code or "" when it is not known; stop words are asked of English.
    `look` leaves out groups of rules that are known to have nothing to say.
    """
    if not look:
        return
    lowered = text.lower()
    if look & PLACEHOLDERS:
        yield from _placeholders(lowered, prose=prose)
    words = text.split()
    if len(words) < WORDS_MIN:
        return
    if look & WORDS:
        yield from _words(text, words)
    if look & (PHRASES | PASSAGES):
        yield from _repetition(words, look)
    if look & LINES:
        yield from _of_lines(text, len(words), prose=prose)
    if look & STOP_WORDS and prose and language == "en" and len(words) >= PROSE_WORDS_MIN:
        known = len(STOP_WORDS_KNOWN & set(lowered.split()))
        if known < 2:
            yield _under("stop_words", f"Holds {known} of 8 common English words.", known, 2)


def _placeholders(lowered: str, *, prose: bool) -> Iterator[Finding]:
    if "lorem ipsum" in lowered:
        yield _over("lorem_ipsum", "Holds “lorem ipsum”.", lowered.count("lorem ipsum"), 1)
    if prose and (notices := len(_NOTICE.findall(lowered))):
        yield _over("web_notice", "Holds a notice of a web page.", notices, 1)


def _of_lines(text: str, words: int, *, prose: bool) -> Iterator[Finding]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) >= LINES_MIN:
        yield from _repeated_lines(lines)
        if prose:
            yield from _lines(lines, words, text.count("\n"))


def _words(text: str, words: Sequence[str]) -> Iterator[Finding]:
    mean = sum(map(len, words)) / len(words)
    if mean < 3:
        yield _under("word_length", f"Words have {mean:.1f} characters on average.", mean, 3)
    elif mean > 10:
        yield _over("word_length", f"Words have {mean:.1f} characters on average.", mean, 10)
    for what, count in (("#", text.count("#")), ("ellipsis", text.count("...") + text.count("…"))):
        if count / len(words) > 0.1:
            sentence = f"{count} times {what} in {len(words)} words."
            yield _over("symbols", sentence, count / len(words), 0.1)
            break
    if sum(map(str.isalpha, words)) >= 0.8 * len(words):
        return  # so many are nothing but letters
    lettered = sum(any(map(str.isalpha, word)) for word in words) / len(words)
    if lettered < 0.8:
        yield _under(
            "few_letters", f"{int(100 * lettered)}% of words hold a letter.", lettered, 0.8
        )


def _repetition(words: Sequence[str], look: int = EVERYTHING) -> Iterator[Finding]:
    """Shares of characters, as in Gopher: of the most frequent phrase, then of all that repeat."""
    words = words[:WORDS_MAX]
    characters = sum(map(len, words)) or 1
    if look & PHRASES and _may_have_top_phrase(words, characters):
        for size, limit in TOP_PHRASES:
            phrase, count = _phrases(words, size).most_common(1)[0]
            share = count * sum(map(len, phrase)) / characters
            if count > 1 and share > limit:
                sentence = (
                    f"One phrase of {size} words, {count} times, is {int(100 * share)}% of it."
                )
                yield _over("repeated_phrase", sentence, share, limit)
                break
    if not (look & PASSAGES and _may_repeat_passages(words, characters)):
        return
    for size, limit in REPEATED_PHRASES:
        share = _repeated_characters(words, size) / characters
        if share > limit:
            sentence = f"Repeated phrases of {size} words are {int(100 * share)}% of it."
            yield _over("repeated_passages", sentence, share, limit)
            break


def _may_have_top_phrase(words: Sequence[str], characters: int) -> bool:
    """False when no word is frequent enough: a phrase comes no more often than any word of it.

    So its share is at most its size times the largest share of a word. This and the next function
    spare nearly all text the counting, which takes longer than all other checks together.
    """
    counts = Counter(words)
    largest = max(count * len(word) for word, count in counts.items()) / characters
    return any(size * largest > limit for size, limit in TOP_PHRASES)


def _may_repeat_passages(words: Sequence[str], characters: int) -> bool:
    """False when too little lies in repeated phrases of the shortest size.

    Longer phrases that repeat are made of shorter ones that do. Phrases are compared by hash: two
    that are equal always seem so, others nearly never.
    """
    size, least = REPEATED_PHRASES[0][0], min(limit for _, limit in REPEATED_PHRASES)
    if len(words) <= size:
        return False
    hashes = np.fromiter(map(hash, words), dtype=np.int64, count=len(words)).view(np.uint64)
    phrases = hashes[: len(words) - size + 1].copy()
    for place in range(1, size):
        phrases = phrases * _MIX + hashes[place : len(words) - size + 1 + place]
    order = np.argsort(phrases, kind="stable")
    ordered = phrases[order]
    again = order[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return False
    covered = {int(at) + place for at in again for place in range(size)}
    return sum(len(words[at]) for at in covered) / characters > least


def _phrases(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[at:] for at in range(size)), strict=False))


def _repeated_characters(words: Sequence[str], size: int) -> int:
    """Characters in phrases seen before, each word counted once."""
    seen: set[tuple[str, ...]] = set()
    total = at = 0
    while at <= len(words) - size:
        phrase = tuple(words[at : at + size])
        if phrase in seen:
            total += sum(map(len, phrase))
            at += size
        else:
            seen.add(phrase)
            at += 1
    return total


def _repeated_lines(lines: Sequence[str]) -> Iterator[Finding]:
    share = 1 - len(set(lines)) / len(lines)
    if share > 0.3:
        yield _over("repeated_lines", f"{int(100 * share)}% of lines repeat others.", share, 0.3)


def _lines(lines: Sequence[str], words: int, breaks: int) -> Iterator[Finding]:
    def share(
        kind: str, sentence: str, count: int, limit: float, *, at_least: bool = False
    ) -> None:
        part = count / len(lines)
        if (part < limit) if at_least else (part > limit):
            make = _under if at_least else _over
            found.append(make(kind, sentence.format(int(100 * part)), part, limit))

    found: list[Finding] = []
    share("bullet_lines", "{}% of lines are bullets.", _count(_BULLET, lines), 0.9)
    trailing = sum(line.rstrip().endswith(("...", "…")) for line in lines)
    share("ellipsis_lines", "{}% of lines end in an ellipsis.", trailing, 0.3)
    ended = _count(_ENDS_IN_PUNCTUATION, lines)
    share("unfinished_lines", "{}% of lines end in punctuation.", ended, 0.12, at_least=True)
    short = sum(len(line) <= 30 for line in lines)
    share("short_lines", "{}% of lines have 30 characters at most.", short, 0.67)
    yield from found
    if breaks / words > 0.3:
        yield _over("many_lines", f"{breaks} line breaks in {words} words.", breaks / words, 0.3)


def _count(pattern: re.Pattern[str], lines: Sequence[str]) -> int:
    return sum(pattern.search(line) is not None for line in lines)


def _over(rule: str, sentence: str, measured: float, limit: float) -> Finding:
    return Finding(rule=rule, sentence=sentence, measured=round(measured, 4), threshold=limit)


_under = _over  # the sentence says on which side of the limit
