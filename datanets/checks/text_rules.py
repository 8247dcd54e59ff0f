"""The rules of Gopher, C4 and FineWeb, as labels with their number.

They were made to throw away web pages. A correct short answer fails several of them (50 words,
five sentences, no `{`), so those are left out, and the rules about lines are asked of plain text
only. Thresholds are those of datatrove's filters; sources in `findings.RULES`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from datanets.checks.findings import Finding

WORDS_MIN = 20
"""Shorter text has no statistics."""
PROSE_WORDS_MIN = 50
LINES_MIN = 5
STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
TOP_PHRASES = ((2, 0.20), (3, 0.18), (4, 0.16))
REPEATED_PHRASES = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
WORDS_MAX = 5_000
"""Phrases are counted in the first this many words: the memory of a row stays small."""

_BULLET = re.compile(r"^\s*[-*•‣●○▪–]")  # noqa: RUF001 (bullets as people type them)
_ELLIPSIS = re.compile(r"\.\.\.|…")
_ENDS_IN_PUNCTUATION = re.compile(r"[.!?…:;\"'”’)。！？]\s*$")  # noqa: RUF001 (full-width stops)
_NOTICE = re.compile(
    r"javascript (?:is (?:disabled|required)|must be enabled)|enable javascript|use of cookies"
    r"|uses cookies|cookie policy|terms of use|privacy policy"
)


def text_findings(text: str, *, prose: bool, language: str = "") -> Iterator[Finding]:
    """`prose` is true for plain text, whose lines and style are judged too.

    `language` is an ISO 639-1 code or "" when it is not known; stop words are asked of English.
    """
    words = text.split()
    lowered = text.lower()
    if "lorem ipsum" in lowered:
        yield _over("lorem_ipsum", "Holds “lorem ipsum”.", lowered.count("lorem ipsum"), 1)
    if prose and (notices := len(_NOTICE.findall(lowered))):
        yield _over("web_notice", "Holds a notice of a web page.", notices, 1)
    if len(words) < WORDS_MIN:
        return
    yield from _words(text, words)
    yield from _repetition(words)
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) >= LINES_MIN:
        yield from _repeated_lines(lines)
        if prose:
            yield from _lines(lines, len(words), text.count("\n"))
    if prose and language == "en" and len(words) >= PROSE_WORDS_MIN:
        known = len(STOP_WORDS & set(lowered.split()))
        if known < 2:
            yield _under("stop_words", f"Holds {known} of 8 common English words.", known, 2)


def _words(text: str, words: Sequence[str]) -> Iterator[Finding]:
    mean = sum(map(len, words)) / len(words)
    if mean < 3:
        yield _under("word_length", f"Words have {mean:.1f} characters on average.", mean, 3)
    elif mean > 10:
        yield _over("word_length", f"Words have {mean:.1f} characters on average.", mean, 10)
    for what, count in (("#", text.count("#")), ("ellipsis", len(_ELLIPSIS.findall(text)))):
        if count / len(words) > 0.1:
            sentence = f"{count} times {what} in {len(words)} words."
            yield _over("symbols", sentence, count / len(words), 0.1)
            break
    lettered = sum(any(sign.isalpha() for sign in word) for word in words) / len(words)
    if lettered < 0.8:
        yield _under(
            "few_letters", f"{int(100 * lettered)}% of words hold a letter.", lettered, 0.8
        )


def _repetition(words: Sequence[str]) -> Iterator[Finding]:
    """Shares of characters, as in Gopher: of the most frequent phrase, then of all that repeat."""
    words = words[:WORDS_MAX]
    characters = sum(map(len, words)) or 1
    for size, limit in TOP_PHRASES:
        phrase, count = _phrases(words, size).most_common(1)[0]
        share = count * sum(map(len, phrase)) / characters
        if count > 1 and share > limit:
            sentence = f"One phrase of {size} words, {count} times, is {int(100 * share)}% of it."
            yield _over("repeated_phrase", sentence, share, limit)
            break
    for size, limit in REPEATED_PHRASES:
        share = _repeated_characters(words, size) / characters
        if share > limit:
            sentence = f"Repeated phrases of {size} words are {int(100 * share)}% of it."
            yield _over("repeated_passages", sentence, share, limit)
            break


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
