"""One page of rows for the viewer: filtered, searched, sorted, a million of them or ten.

No page counts or skips rows: the next one begins after the last row of this one, by an index. The
caller has checked the right to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet, Value

from datanets.facets import UNKNOWN, bucket_range
from datanets.models import Contribution, Datanet, Record, Version, VersionRecord
from datanets.models.contribution import RowWords
from datanets.selectors.access import SEALED_ROWS_READ, first_or_404, readable_by
from openledger_site.core.row_security import all_rows

PAGE_ROWS = 25
WORDS_MAX = 12
PREFIX_CHARACTERS_MIN = 3
"""Shorter words are searched whole: the beginning "a" would be half of the dictionary."""
LOOKED_AT_FIRST = 500
"""Rows that a search looks at before it asks the index of words; enough for a common word."""
SORTS = {
    "": "Newest first",
    "oldest": "Oldest first",
    "shortest": "Shortest first",
    "longest": "Longest first",
}
_WORD = re.compile(r"\w+")
# A page that is full opens no more of them.
_OPENED_AT_ONCE = 250
_TEXTS = ("instruction", "response", "rejected", "text", "messages", "wordings", "salt")
_COLUMNS = {
    "": ("-id",),
    "oldest": ("id",),
    "shortest": ("characters", "id"),
    "longest": ("-characters", "-id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Values as they stand in an address; an empty one filters nothing out."""

    search: str = ""
    sort: str = ""
    length: str = ""
    kind: str = ""
    language: str = ""
    licence: str = ""
    label: str = ""
    contributor: UUID | None = None


@dataclass(frozen=True, slots=True)
class RowsPage:
    """Rows in the order asked for; the cursors are those of the pages around it, or None.

    `is_partial`: a search ended before the last row; the page at `next` goes on with it.
    """

    rows: list[Record]
    previous: UUID | None
    next: UUID | None
    is_partial: bool = False


def datanet_for_reader(user: Any, slug: str) -> Datanet:
    found: Datanet = first_or_404(readable_by(user).filter(slug=slug), "Datanet")
    return found


def version_for_reader(user: Any, public_id: Any) -> Version:
    rows = Version.objects.filter(datanet__in=readable_by(user), public_id=public_id)
    found: Version = first_or_404(rows.select_related("datanet"), "version")
    return found


def rows_page(
    datanet: Datanet,
    wanted: RowFilter,
    *,
    version: Version | None = None,
    after: UUID | None = None,
    before: UUID | None = None,
) -> RowsPage:
    """`PAGE_ROWS` accepted rows after (or before) the row with this public id.

    A cursor that names no accepted row of this Datanet is ignored: the first page is shown.
    """
    columns = _COLUMNS[wanted.sort]
    start = _start(datanet, after or before)
    backwards = start is not None and after is None
    order = _reversed(columns) if backwards else columns
    rows = _filtered(datanet, wanted, version)
    if start is not None:
        rows = rows.filter(_beyond(order, start))
    words = words_of(wanted.search)
    if words and datanet.visibility == Datanet.Visibility.PRIVATE:
        return _page_by_reading(rows.order_by(*order), words, backwards=backwards, start=start)
    pks = _first_pks(datanet, rows, order, words)
    more, pks = len(pks) > PAGE_ROWS, pks[:PAGE_ROWS]
    found = _fetch(list(reversed(pks)) if backwards else pks)
    if not found:
        return RowsPage([], None, None)
    first, last = found[0].public_id, found[-1].public_id
    is_later, is_earlier = (True, more) if backwards else (more, start is not None)
    return RowsPage(found, first if is_earlier else None, last if is_later else None)


def sample_rows(datanet: Datanet, *, may_read: bool, count: int = 5) -> list[Record]:
    """Rows for those who have not decided yet; none but where the text may be shown to everybody.

    Readers see the newest rows. Of a restricted Datanet everybody sees what its owner marked. Of a
    private one nobody sees text without a right to read it.
    """
    rows = Record.objects.filter(datanet=datanet, state=Record.State.APPROVED)
    if datanet.visibility == Datanet.Visibility.RESTRICTED:
        with all_rows("the owner of a restricted Datanet marked these for everybody"):
            marked = list(rows.filter(is_sample=True).order_by("-id").values_list("pk", flat=True))
            if marked or not may_read:
                return _fetch(marked[:count])
    if not may_read:
        return []
    return _fetch(list(rows.order_by("-id").values_list("pk", flat=True)[:count]))


def leaves_of(version: Version, first: int, count: int, *, may_read: bool) -> list[VersionRecord]:
    """`count` places of a version from `first` on, counted from 0, in order.

    Whoever sees the version sees each leaf's hash and owner; without a right to read no text is
    fetched.
    """
    entries = version.entries.filter(position__gte=first, position__lt=first + count)
    entries = entries.select_related("record__contribution__contributor").order_by("position")
    if may_read:
        return list(entries)
    with all_rows("hashes and owners are for whoever sees the version"):
        return list(entries.defer("held_out_wordings", *(f"record__{name}" for name in _TEXTS)))


def _start(datanet: Datanet, cursor: UUID | None) -> tuple[int, int] | None:
    """Characters and primary key of the row that a page begins at."""
    if cursor is None:
        return None
    rows = Record.objects.filter(
        datanet=datanet, public_id=cursor, state=Record.State.APPROVED
    ).values_list("characters", "pk")
    return rows.first()


def _filtered(datanet: Datanet, wanted: RowFilter, version: Version | None) -> QuerySet[Record]:
    rows = Record.objects.filter(datanet=datanet.pk, state=Record.State.APPROVED)
    if version is not None:
        entries = VersionRecord.objects.filter(version=version.pk, record=OuterRef("pk"))
        rows = rows.filter(Exists(entries))
    if wanted.kind:
        rows = rows.filter(kind=wanted.kind)
    if wanted.language:
        rows = rows.filter(language="" if wanted.language == UNKNOWN else wanted.language)
    if wanted.label:
        rows = (
            rows.filter(flags=[])
            if wanted.label == UNKNOWN
            else rows.filter(flags__contains=[wanted.label])
        )
    if wanted.length:
        low, high = bucket_range(int(wanted.length))
        rows = rows.filter(characters__gte=low)
        rows = rows if high is None else rows.filter(characters__lt=high)
    if wanted.licence or wanted.contributor:
        rows = rows.filter(contribution__in=_contributions(datanet, wanted))
    return rows


def _contributions(datanet: Datanet, wanted: RowFilter) -> list[int]:
    """Their keys as a list: the planner sees how many they are, and the index holds them."""
    found = Contribution.objects.filter(datanet=datanet.pk)
    if wanted.licence:
        found = found.filter(licence=wanted.licence)
    if wanted.contributor:
        found = found.filter(contributor__public_id=wanted.contributor)
    return list(found.order_by().values_list("pk", flat=True))


def _reversed(columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(column[1:] if column[0] == "-" else f"-{column}" for column in columns)


def _beyond(order: tuple[str, ...], start: tuple[int, int]) -> Q | Func:
    """Rows that come after `start` in this order, strictly.

    Length and key are compared as one: an index of both then begins there, where two conditions
    would walk through all rows that are as long.
    """
    characters, pk = start
    is_down = order[0][0] == "-"
    if len(order) == 1:
        return Q(id__lt=pk) if is_down else Q(id__gt=pk)
    return Func(
        Func(F("characters"), F("id"), function="ROW"),
        Func(Value(characters), Value(pk), function="ROW"),
        template="(%(expressions)s)",
        arg_joiner=" < " if is_down else " > ",
        output_field=BooleanField(),
    )


@all_rows("policies keep indexes of words and labels from being used; texts are fetched without")
def _first_pks(
    datanet: Datanet, rows: QuerySet[Record], order: tuple[str, ...], words: list[str]
) -> list[int]:
    """The keys of a page and one more. A search looks at the next rows first, then at its index.

    A common word is found among them at once, and the index would list a million rows that hold
    it; a rare one is not, and for that the index is quick.
    """
    wanted = PAGE_ROWS + 1
    if not words:
        return list(rows.order_by(*order).values_list("pk", flat=True)[:wanted])
    query = words_query(datanet, words)
    near = list(rows.order_by(*order).values_list("pk", flat=True)[:LOOKED_AT_FIRST])
    # Without its state, so that the partial index of words does not apply to these few.
    holding = Record.objects.filter(pk__in=near).annotate(words=RowWords()).filter(words=query)
    held = set(holding.order_by().values_list("pk", flat=True))
    found = [pk for pk in near if pk in held]
    if len(found) >= wanted or len(near) < LOOKED_AT_FIRST:
        return found[:wanted]
    # Sums, so that no index gives this order: else the planner may walk along one, row by row.
    by = [
        (F(column.lstrip("-")) + 0).desc() if column[0] == "-" else (F(column) + 0).asc()
        for column in order
    ]
    matches = rows.annotate(words=RowWords()).filter(words=query)
    return list(matches.order_by(*by).values_list("pk", flat=True)[:wanted])


def words_of(search: str) -> list[str]:
    """The words to look for, punctuation and all; none where there is nothing to search for."""
    return [word for word in search.split() if any(map(str.isalnum, word))][:WORDS_MAX]


def words_query(datanet: Datanet, words: list[str]) -> SearchQuery:
    """All words, each as the beginning of one in the row."""
    terms = [f"rowsofdatanet{datanet.pk}"]
    for word in words:
        quoted = word.replace("\\", " ").replace("'", " ").strip()
        prefix = ":*" if len(quoted) >= PREFIX_CHARACTERS_MIN else ""
        terms.append(f"'{quoted}'{prefix}")
    return SearchQuery(" & ".join(terms), config="simple", search_type="raw")


def _page_by_reading(
    rows: QuerySet[Record], words: list[str], *, backwards: bool, start: tuple[int, int] | None
) -> RowsPage:
    """A page of sealed rows that hold all words: they are opened one by one, so many a page.

    A search that comes to no end goes on after the last row that it opened.
    """
    pks: list[int] = []
    last: UUID | None = None
    read = 0
    for pk, public_id, text in _opened_texts(rows[:SEALED_ROWS_READ]):
        read, last = read + 1, public_id
        if holds_words(text, words):
            pks.append(pk)
            if len(pks) == PAGE_ROWS:
                break
    partial = read == SEALED_ROWS_READ and len(pks) < PAGE_ROWS
    beyond = last if partial or len(pks) == PAGE_ROWS else None
    found = _fetch(list(reversed(pks)) if backwards else pks)
    if backwards:
        return RowsPage(found, beyond, found[-1].public_id if found else None, partial)
    earlier = found[0].public_id if found and start is not None else None
    return RowsPage(found, earlier, beyond, partial)


def _opened_texts(rows: QuerySet[Record]) -> Iterator[tuple[int, UUID, str]]:
    columns = ("pk", "public_id", "instruction", "response", "rejected", "text", "messages")
    for pk, public_id, *texts, messages in rows.values_list(*columns).iterator(_OPENED_AT_ONCE):
        turns = [turn["content"] for turn in messages]
        yield pk, public_id, " ".join([*texts, *turns])


def holds_words(text: str, words: list[str]) -> bool:
    """As the index of words would say it: each whole, or as a beginning where it is long enough."""
    own = _WORD.findall(text.lower())
    whole = set(own)
    return all(
        any(one.startswith(part) for one in whole)
        if len(part) >= PREFIX_CHARACTERS_MIN
        else part in whole
        for word in words
        for part in _WORD.findall(word.lower())
    )


def _fetch(pks: list[int]) -> list[Record]:
    """The rows in this order; one that was withdrawn a moment ago is not among them."""
    rows = Record.objects.filter(pk__in=pks, state=Record.State.APPROVED)
    found = rows.select_related("contribution__contributor").defer("wordings", "salt").in_bulk()
    return [found[pk] for pk in pks if pk in found]
