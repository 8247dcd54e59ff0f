"""Personal data by pattern: Presidio's recognisers, without any language model.

They find what has a form: addresses, numbers with a check digit, phone numbers. They cannot find
what only a reader understands; `NOT_CHECKED` says so and the pages repeat it.

Presidio imports spaCy, and both import torch when it is there: seven seconds and 800 MB for
nothing we use. `load` hides both first, so call it only in a process that needs neither.
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from datanets.checks.findings import PERSONAL_DATA_KINDS, Finding

SCORE_MIN = 0.4
"""Presidio's score from which a match counts: its own figure for a phone number."""
NOT_CHECKED = (
    "Names, postal addresses, dates of birth, passwords, national identity numbers other than the"
    " US social security number, and phone numbers in another country's national form (without +)"
    " are not searched for."
)

# Every kind holds an @, a double colon, colons between hex digits, or six digits and separators
# in a row; text without any of them needs no recogniser.
MAY_HOLD_SOME = re.compile(r"@|::|[0-9A-Fa-f]:[0-9A-Fa-f]|\d[\d\s().+/\\,;\u2010-\u2015-]{5}")
_RESERVED_MAIL = re.compile(
    r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)$"
)
_HIDDEN = ("torch", "tensorflow", "cupy", "mxnet", "transformers", "stanza", "gliner")
_LANGUAGE_MODELS = "presidio_analyzer.nlp_engine"

Recogniser = Callable[[str], list[Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """`text[start:end]` looks like `kind` (a key of `PERSONAL_DATA_KINDS`)."""

    kind: str
    start: int
    end: int
    score: float


def find_personal_data(text: str) -> list[Found]:
    """In order, never overlapping: of two that do, the surer, then the longer is kept."""
    if not MAY_HOLD_SOME.search(text):
        return []
    found = [
        Found(one.entity_type, one.start, one.end, one.score)
        for recognise in load()
        for one in recognise(text)
        if one.score >= SCORE_MIN and not _reserved(one.entity_type, text[one.start : one.end])
    ]
    found.sort(key=lambda one: (-one.score, one.start - one.end, one.start))
    kept: list[Found] = []
    for one in found:
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)


def _reserved(kind: str, text: str) -> bool:
    """Addresses set aside for examples and for private networks belong to nobody."""
    if kind == "EMAIL_ADDRESS":
        return _RESERVED_MAIL.search(text.lower()) is not None
    if kind == "IP_ADDRESS":
        try:
            return not ipaddress.ip_interface(text.partition("%")[0]).ip.is_global
        except ValueError:
            return True
    return False


def masked(kind: str, text: str) -> str:
    """Enough to recognise one's own datum by, too little to learn somebody else's."""
    if kind == "EMAIL_ADDRESS":
        name, _, domain = text.partition("@")
        return f"{name[:1]}•••@{domain[:1]}•••"
    return f"{text[:2]}•••{text[-2:]}"


def redacted(text: str, spots: list[tuple[int, int, str]]) -> str:
    """The text with each (start, end, kind) replaced by the name of its kind in brackets."""
    for start, end, kind in sorted(spots, reverse=True):
        text = f"{text[:start]}[{PLACEHOLDERS[kind]}]{text[end:]}"
    return text


PLACEHOLDERS = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
    "US_SSN": "SSN",
}


class _Unused(ModuleType):
    """Has an empty class for every name: what its importers annotate with and never make."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@cache
def load() -> tuple[Recogniser, ...]:
    """Import the recognisers and use each once: nothing may be opened after the child is locked."""
    for name in _HIDDEN:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # None hides a module
    # The part that wraps language models; more than half of the time to load was spaCy's.
    sys.modules.setdefault(_LANGUAGE_MODELS, _Unused(_LANGUAGE_MODELS))
    import tldextract
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        IpRecognizer,
        PhoneRecognizer,
        UsSsnRecognizer,
    )

    # No suffix list is fetched, nothing is cached on disk: the list inside the package is used.
    domains = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return domains(pattern_text).fqdn != ""

    recognisers = [
        OfflineEmailRecognizer(),
        # One region: each more costs as much again. Numbers that start with + need none.
        PhoneRecognizer(supported_regions=("US",)),
        CreditCardRecognizer(),
        IbanRecognizer(),
        IpRecognizer(),
        UsSsnRecognizer(),
    ]
    calls = tuple(_call(one) for one in recognisers)
    for recognise in calls:
        recognise(_EVERY_KIND)
    return calls


def _call(recogniser: Any) -> Recogniser:
    entities = recogniser.supported_entities

    def recognise(text: str) -> list[Any]:
        return list(recogniser.analyze(text, entities) or ())

    return recognise


_EVERY_KIND = (
    "a.b@mail.org +49 30 901820 +44 20 7946 0958 +33 1 42 68 53 00 212-555-0123"
    " 4111 1111 1111 1111 DE89370400440532013000 8.8.8.8 2001:4860:4860::8888 536-90-4399"
)


def kept_finding(one: Found, column: str) -> Finding:
    """What a reviewer is told about a datum that its contributor kept."""
    return Finding(
        rule="personal_data",
        sentence=f"Perhaps personal: {PERSONAL_DATA_KINDS[one.kind]}. Its contributor kept it.",
        measured=round(one.score, 2),
        threshold=SCORE_MIN,
        column=column,
        start=one.start,
        end=one.end,
    )
