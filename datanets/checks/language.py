"""Which language a text is in: py3langid, its model inside the package (Lui & Baldwin 2012)."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from datanets.checks.findings import Finding

ROWS_MIN = 20
"""Fewer rows have no usual language to differ from."""
PROBABILITY_MIN = 0.95
CHARACTERS_MIN = 40
"""Shorter text is not judged: names and code look like any language."""
CHARACTERS_MAX = 500
"""What follows hardly changes the judgement, and judging is what takes longest in a long row."""
USUAL_SHARE_MIN = 0.6

Judged = tuple[str, float]


class Judgements:
    """What was judged of each row, in five bytes a row."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._code = array("B")
        self._probability = array("f")

    def add(self, judged: Judged) -> None:
        code, probability = judged
        self._code.append(self._codes.setdefault(code, len(self._codes)))
        self._probability.append(probability)

    def __iter__(self) -> Iterator[Judged]:
        names = list(self._codes)
        for code, probability in zip(self._code, self._probability, strict=True):
            yield names[code], probability


def language_of(text: str) -> Judged:
    """ISO 639-1 code and probability, or `("", 0.0)` for text that is too short to judge."""
    if len(text) < CHARACTERS_MIN:
        return "", 0.0
    code, probability = load().classify(text[:CHARACTERS_MAX])
    return str(code), float(probability)


def sure_code(judged: Judged) -> str:
    """The code where the judgement is sure enough to be shown, otherwise ""."""
    code, probability = judged
    return code if probability >= PROBABILITY_MIN else ""


def usual_language(judged: Iterable[Judged]) -> str:
    """The language of most rows that could be judged surely, or "" when there is no such one."""
    sure = Counter(code for code, probability in judged if code and probability >= PROBABILITY_MIN)
    if sure.total() < ROWS_MIN:
        return ""
    code, count = sure.most_common(1)[0]
    return code if count >= USUAL_SHARE_MIN * sure.total() else ""


def other_language(judged: Judged, usual: str) -> Finding | None:
    code, probability = judged
    if not usual or not code or code == usual or probability < PROBABILITY_MIN:
        return None
    return Finding(
        rule="other_language",
        sentence=f"Looks like “{code}”; most rows of this contribution are “{usual}”.",
        measured=round(probability, 4),
        threshold=PROBABILITY_MIN,
    )


@cache
def load() -> Any:
    """The model; 0.6 seconds, 80 MB."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
