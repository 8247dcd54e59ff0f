"""The questions about where rows come from, and the answers in words and for machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from datanets.facets import UNKNOWN, Counts
from datanets.models import Contribution
from datanets.models.provenance import Provenance

STANDARD = "Data & Trust Alliance, Data Provenance Standards 1.0.0"
# Our field, the standard's name of it, what the page calls it.
FIELDS: tuple[tuple[str, str, str], ...] = (
    ("source", "Source", "Whose they are"),
    ("source_name", "Source (name)", "Source"),
    ("method", "Method", "How they were made"),
    ("made_by", "Method (tool)", "Program or model"),
    ("origin", "Data origin geography", "Place of origin"),
    ("made_from", "Range of dates for data generation (first)", "Made from"),
    ("made_to", "Range of dates for data generation (last)", "Made until"),
    ("intended_use", "Intended data use", "Meant for"),
    ("other_rights", "Proprietary data presence", "Other people's rights"),
    ("consent", "Consent", "Consent"),
    ("consent_evidence", "Consent documentation location", "Consent is written down"),
    ("privacy_means", "Privacy enhancing technologies or tools applied", "Done for privacy"),
)
NAMES = tuple(name for name, _, _ in FIELDS)
NOTHING_SAID: dict[str, Any] = {
    name: None if name in ("made_from", "made_to") else "" for name in NAMES
}
NOT_SAID = "Not said"
_DATES = ("made_from", "made_to")
_CHOICES = {
    "source": dict(Provenance.Source.choices),
    "method": dict(Provenance.Method.choices),
    "consent": dict(Provenance.Consent.choices),
}


def provenance_of(contribution: Contribution) -> dict[str, Any]:
    """Every answer by its name."""
    return {name: getattr(contribution, name) for name in NAMES}


def mistake_in(answers: Mapping[str, Any], today: date) -> tuple[str, str] | None:
    """The first field that another answer asks for, or that cannot be; with what to do."""

    def said(name: str) -> Any:
        return answers.get(name) or ""

    first, last = said("made_from"), said("made_to")
    rules = (
        (
            said("source") not in ("", Provenance.Source.OWN) and not said("source_name"),
            "source_name",
            "Name where they come from: a publisher, a web address, a department.",
        ),
        (
            said("method") in Provenance.SYNTHETIC_METHODS and not said("made_by"),
            "made_by",
            "Name the program or AI model that made them.",
        ),
        (
            said("consent") in (Provenance.Consent.GIVEN, Provenance.Consent.LAW)
            and not said("consent_evidence"),
            "consent_evidence",
            "Say where the consent or the legal ground is written down.",
        ),
        (bool(last) and last > today, "made_to", "This day is still to come."),
        (bool(first) and first > today, "made_from", "This day is still to come."),
        (bool(first and last) and first > last, "made_to", "It ends before it begins."),
    )
    return next(((where, words) for wrong, where, words in rules if wrong), None)


def answers_in_words(contribution: Contribution) -> list[tuple[str, str]]:
    """Title and answer of what was said, in the order of the form."""
    answers = []
    for name, _, title in FIELDS:
        value = getattr(contribution, name)
        if value:
            words = value_in_words(name, value)
            answers.append((title, value.strftime("%-d %B %Y") if name in _DATES else words))
    return answers


def shares_of(counts: Counts, facet: str) -> list[dict[str, Any]]:
    """Rows by source, method or origin, the most first, for a bar with its legend."""
    return [
        {"label": value_in_words(facet, value), "value": rows}
        for value, rows in counts.by[facet].most_common(8)
    ]


def provenance_shares(counts: Counts) -> dict[str, Any]:
    """What `datanets/_provenance_shares.html` shows of a Datanet or a version."""
    return {
        "provenance_shares": {
            facet: shares_of(counts, facet) for facet in ("source", "method", "origin")
        },
        "synthetic_rows": synthetic_rows(counts),
        "time_frame": [date.fromisoformat(day) for day in time_frame(counts)],
    }


def value_in_words(facet: str, value: Any) -> str:
    return NOT_SAID if value == UNKNOWN else str(_CHOICES.get(facet, {}).get(value, value))


def synthetic_rows(counts: Counts) -> int:
    """Rows that a program or AI model made or helped to make."""
    return sum(counts.by["method"][method] for method in Provenance.SYNTHETIC_METHODS)


def time_frame(counts: Counts) -> list[str]:
    """The first and the last day, as far as they were said: two ISO dates, or none."""
    days = sorted(day for name in _DATES for day in counts.by[name] if day != UNKNOWN)
    return [days[0], days[-1]] if days else []


def summary_for_machines(counts: Counts) -> dict[str, Any]:
    """Rows by each answer that is a choice; "none" was not said.

    Fit for a manifest, which never changes: what people typed is not in it.
    """
    return {
        "standard": STANDARD,
        "synthetic_rows": synthetic_rows(counts),
        **{f"rows_by_{name}": dict(counts.by[name]) for name in ("source", "method", "consent")},
    }
