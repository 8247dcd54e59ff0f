"""What the viewer shows beside its rows: bars that filter, and what is filtered now. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from datanets.facets import FACET_TITLES, Counts, value_label
from datanets.models import Datanet
from datanets.selectors.rows import RowFilter
from openledger_site.accounts.models import User

BARS_MAX = 10
SHARES_MAX = 7  # and one for all others: a share bar has eight colours
# What a reader could work out from the text alone. Other labels tell of rows that a reader may not
# see, or where somebody's data stands: those are for reviewers.
LABELS_FOR_READERS = frozenset({
    "other_language", "toxic_words", "empty_answer", "short_answer", "repeats_question", "refusal",
    "truncated_answer", "equal_pair", "role_order", "long_row", "word_length", "symbols",
    "few_letters", "bullet_lines", "ellipsis_lines", "stop_words", "repeated_lines",
    "repeated_phrase", "repeated_passages", "lorem_ipsum", "web_notice", "unfinished_lines",
    "short_lines", "many_lines",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with its rows. `percent` is of the longest bar; `query` filters, or frees again."""

    label: str
    rows: int
    percent: float
    query: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Histogram:
    """One facet. `others` counts the rows of the values that have no bar."""

    facet: str
    title: str
    bars: list[Bar]
    others: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """A filter that is set, in words, and the address without it."""

    words: str
    query: str


def query_of(wanted: RowFilter, **changed: Any) -> str:
    """The filter as a query string that begins with "?", without what is empty; `after` and
    `before` name a page.
    """
    values = {name: getattr(wanted, name) for name in RowFilter.__slots__} | changed
    return "?" + urlencode([(name, value) for name, value in values.items() if value])


def kept_fields(wanted: RowFilter) -> list[tuple[str, Any]]:
    """What the search form carries along: the bars that are chosen."""
    return [(name, getattr(wanted, name)) for name in FACET_TITLES if getattr(wanted, name)]


def may_filter_by(label: str, *, reviews: bool) -> bool:
    return reviews or label in LABELS_FOR_READERS


def histograms(counts: Counts, wanted: RowFilter, *, reviews: bool) -> list[Histogram]:
    """A histogram a facet that tells something: one that has two values, or one that is chosen."""
    people = _people(counts)
    shown = []
    for facet, title in FACET_TITLES.items():
        values = _values(facet, counts, reviews)
        chosen = _chosen_value(facet, wanted, people)
        if len(values) > 1 or (values and (chosen or facet in ("label", "contributor"))):
            shown.append(_histogram(facet, title, values, wanted, chosen, people))
    return shown


def _values(facet: str, counts: Counts, reviews: bool) -> list[tuple[str, int]]:
    values = list(counts.by[facet].items())
    if facet == "length":
        return sorted(values, key=lambda pair: int(pair[0]))
    if facet == "label":
        values = [pair for pair in values if may_filter_by(pair[0], reviews=reviews)]
    return sorted(values, key=lambda pair: (-pair[1], pair[0]))


def _histogram(
    facet: str,
    title: str,
    values: list[tuple[str, int]],
    wanted: RowFilter,
    chosen: str,
    people: dict[str, User],
) -> Histogram:
    longest = max(rows for _, rows in values)
    bars = []
    for value, rows in values[:BARS_MAX]:
        person = people.get(value) if facet == "contributor" else None
        if facet == "contributor" and person is None:
            continue
        address: Any = person.public_id if person else value
        is_chosen = value == chosen
        bars.append(
            Bar(
                label=person.name if person else _label(facet, value),
                rows=rows,
                percent=round(100 * rows / longest, 1),
                query=query_of(wanted, **{facet: None if is_chosen else address}),
                chosen=is_chosen,
            )
        )
    return Histogram(facet, title, bars, sum(rows for _, rows in values[BARS_MAX:]))


def _label(facet: str, value: str) -> str:
    return value if facet == "licence" else value_label(facet, value)


def _chosen_value(facet: str, wanted: RowFilter, people: dict[str, User]) -> str:
    value = getattr(wanted, facet)
    if facet != "contributor":
        return str(value)
    return next((pk for pk, person in people.items() if person.public_id == value), "")


def _people(counts: Counts) -> dict[str, User]:
    """The contributors that have a bar, by primary key as text."""
    shown = [pk for pk, _ in counts.by["contributor"].most_common(BARS_MAX)]
    users = User.objects.filter(pk__in=shown).select_related("reputation")
    users = users.only("public_id", "display_name", "reputation__score")
    return {str(user.pk): user for user in users}


def chosen_filters(wanted: RowFilter) -> list[Chosen]:
    """What is set, for the line above the rows."""
    found = []
    if wanted.search:
        found.append(Chosen(f"Words: {wanted.search}", query_of(wanted, search="")))
    for facet, title in FACET_TITLES.items():
        value = getattr(wanted, facet)
        if value:
            words = _person_name(value) if facet == "contributor" else _label(facet, str(value))
            found.append(Chosen(f"{title}: {words}", query_of(wanted, **{facet: ""})))
    return found


def _person_name(public_id: UUID) -> str:
    person = User.objects.filter(public_id=public_id).only("public_id", "display_name").first()
    return person.name if person else "nobody"


def known_total(counts: Counts, wanted: RowFilter) -> int | None:
    """How many rows there are, where that is known without counting: no filter, or a single bar."""
    if wanted.search or wanted.contributor:
        return None
    chosen = [facet for facet in FACET_TITLES if getattr(wanted, facet)]
    if len(chosen) > 1:
        return None
    if not chosen:
        return counts.rows
    return counts.by[chosen[0]].get(getattr(wanted, chosen[0]), 0)


def contributor_shares(counts: Counts, datanet: Datanet, *, reads: bool) -> list[dict[str, Any]]:
    """Who gave the rows, the most first; a reader's way to their rows."""
    people = _people(counts)
    shares = [
        _share(people[pk].name, rows, datanet, reads, contributor=people[pk].public_id)
        | {"person": people[pk]}
        for pk, rows in counts.by["contributor"].most_common(SHARES_MAX)
        if pk in people
    ]
    others = counts.rows - sum(share["value"] for share in shares)
    return shares + ([{"label": "Others", "value": others}] if shares and others > 0 else [])


def licence_shares(counts: Counts, datanet: Datanet, *, reads: bool) -> list[dict[str, Any]]:
    """Under which terms the rows were given, the most first."""
    return [
        _share(licence, rows, datanet, reads, licence=licence)
        for licence, rows in counts.by["licence"].most_common(SHARES_MAX)
    ]


def _share(label: str, rows: int, datanet: Datanet, reads: bool, **wanted: Any) -> dict[str, Any]:
    path = reverse("datanets:row-list", args=[datanet.slug]) + query_of(RowFilter(**wanted))
    return {"label": label, "value": rows, "href": path if reads else ""}
