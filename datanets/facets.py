"""What rows are counted and filtered by: facets, their values and the words for them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datanets.checks.findings import RULES
from datanets.models import Record

# Characters of a whole row at which a new bucket begins.
LENGTH_EDGES = (50, 100, 200, 500, 1_000, 2_000, 5_000)
PROVENANCE = ("source", "method", "origin", "consent", "made_from", "made_to")
"""Told on the page and to machines, and no filter of the viewer."""
FACETS = ("length", "kind", "language", "licence", "label", "contributor", *PROVENANCE)
UNKNOWN = "none"
"""In an address: the language was not judged; the row carries no label."""
# The languages that py3langid knows best, by name; others are shown by their code.
LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "la": "Latin", "lt": "Lithuanian",
    "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


@dataclass(slots=True)
class Counts:
    """Rows by facet and value. Contributors are named by their primary key, as text."""

    rows: int = 0
    by: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in FACETS}
    )

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "by": {name: dict(one) for name, one in self.by.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        return cls(value["rows"], {name: Counter(value["by"].get(name, {})) for name in FACETS})

    def without(self, other: Counts) -> Counts:
        """What is left when `other`'s rows are gone; values without a row are dropped."""
        left = {name: +(self.by[name] - other.by[name]) for name in FACETS}
        return Counts(self.rows - other.rows, left)


def length_bucket(characters: int) -> int:
    """0 for the shortest rows, `len(LENGTH_EDGES)` for the longest."""
    return sum(characters >= edge for edge in LENGTH_EDGES)


def bucket_range(bucket: int) -> tuple[int, int | None]:
    """First number of characters in a bucket, and the first of the next, None for the last."""
    edges = (0, *LENGTH_EDGES)
    return edges[bucket], LENGTH_EDGES[bucket] if bucket < len(LENGTH_EDGES) else None


def value_label(facet: str, value: str) -> str:
    """A value in words; contributors are named by whoever knows them."""
    if facet == "length":
        low, high = bucket_range(int(value))
        return f"{low:,} to {high - 1:,}" if high else f"{low:,} and more"
    if facet == "language":
        return LANGUAGES.get(value, value) if value != UNKNOWN else "Not judged"
    if facet == "kind":
        return dict(Record.Kind.choices).get(value, value)
    if facet == "label":
        return RULES[value].title if value in RULES else "No label" if value == UNKNOWN else value
    return value


FACET_TITLES = {
    "length": "Length in characters",
    "kind": "Shape",
    "language": "Language",
    "licence": "Licence",
    "label": "Check label",
    "contributor": "Contributor",
}
