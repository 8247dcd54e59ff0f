"""Compare checked rows with the rows that are stored: here, and in other public Datanets.

Eight queries for a thousand rows, whatever is stored: fingerprints and MinHash bands are indexed.
Rows of a private Datanet are stored under keyed ones (0050): they are looked up under both forms.
It looks at rows that the contributor may not see; who is told of a match is decided by
`selectors.findings_for` and by `judge_rows.visible_matches`, never here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from django.db.models import Q, QuerySet

from datanets.checks import CheckedRow, Finding
from datanets.checks.check_rows import copy_finding
from datanets.checks.duplicates import NEAR_JACCARD, jaccard, near_finding, shingles
from datanets.checks.rows import content_of_row
from datanets.content import (
    Content,
    prompt_fingerprint,
    row_fingerprint,
    short_key,
    whole_text,
)
from datanets.models import Contribution, Datanet, Record, RecordKey, VersionRecord
from datanets.models.sealed import keyed, keyer_of
from datanets.selectors import content_of
from openledger_site.core.row_security import all_rows
from openledger_site.core.sealing import HashKeyer

GONE = (Record.State.WITHDRAWN, Record.State.REJECTED)
# A frame that thousands of rows share would propose them all; the first of them will do.
CANDIDATES_MAX = 5_000
CANDIDATES_PER_ROW = 20
KEYS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Matched:
    """A finding that is about a stored record."""

    finding: Finding
    record_pk: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is looked up about one row."""

    position: int
    content: Content
    fingerprint: str
    prompt: str
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Forms:
    """What is looked up, in every form that it may be stored in: back from there to what it is."""

    keyer: HashKeyer | None

    def hashes(self, column: str, plain: Iterable[str]) -> dict[str, str]:
        forms = {digest: digest for digest in plain}
        if self.keyer is not None:
            forms |= {keyed(digest, column, self.keyer): digest for digest in [*forms]}
        return forms

    def keys(self, kind: str, plain: Iterable[int]) -> dict[tuple[str, int], int]:
        forms = {(kind, key): key for key in plain}
        if self.keyer is not None:
            forms |= {RecordKey.stored(kind, key, self.keyer): key for key in forms.values()}
        return forms


@all_rows("a copy is a copy of rows that its sender may not see, too")
def compare_rows(
    contribution: Contribution, rows: Sequence[CheckedRow]
) -> dict[int, list[Matched]]:
    """Findings by position. Rows of the contribution itself are left to the checks."""
    asked = [_asked(row) for row in rows if row.row is not None]
    found: dict[int, list[Matched]] = defaultdict(list)
    stored = Record.objects.exclude(state__in=GONE).exclude(contribution=contribution.pk)
    datanet_id, forms = contribution.datanet_id, _Forms(keyer_of(contribution.datanet))
    copied = _copies(datanet_id, stored, forms, asked, found)
    others = [one for one in asked if one.position not in copied]
    _near(datanet_id, stored, forms, others, found)
    _same_question(datanet_id, stored, forms, asked, found)
    _held_out_wordings(datanet_id, stored, forms, asked, found)
    _held_out_rows(found)
    return found


def _asked(row: CheckedRow) -> _Asked:
    if row.row is None:
        raise ValueError("A dropped row is not compared.")
    content = content_of_row(row.row)
    prompt = "" if content.kind == Record.Kind.TEXT else prompt_fingerprint(content)
    return _Asked(row.position, content, row_fingerprint(content), prompt, row.keys)


def _in_scope(datanet_id: int) -> Q:
    """This Datanet with what waits in it; of other public ones what anybody may read."""
    public = Q(datanet__visibility=Datanet.Visibility.PUBLIC, state=Record.State.APPROVED)
    return Q(datanet=datanet_id) | public


def _rule(base: str, datanet_id: int, found_in: int) -> str:
    return base if found_in == datanet_id else f"{base}_elsewhere"


def _copies(
    datanet_id: int,
    stored: QuerySet[Record],
    forms: _Forms,
    asked: Sequence[_Asked],
    found: dict[int, list[Matched]],
) -> set[int]:
    """Equal fingerprints; returns the positions of the rows that have one."""
    prints = forms.hashes("fingerprint", {one.fingerprint for one in asked})
    rows = stored.filter(_in_scope(datanet_id), fingerprint__in=prints)
    first: dict[tuple[str, bool], tuple[int, int]] = {}
    for fingerprint, pk, where in rows.order_by("pk").values_list(
        "fingerprint", "pk", "datanet_id"
    ):
        first.setdefault((prints[fingerprint], where == datanet_id), (pk, where))
    copied: set[int] = set()
    for one in asked:
        for here in (True, False):
            if match := first.get((one.fingerprint, here)):
                copied.add(one.position)
                finding = copy_finding(_rule("duplicate", datanet_id, match[1]))
                found[one.position].append(Matched(finding, match[0]))
    return copied


def _near(
    datanet_id: int,
    stored: QuerySet[Record],
    forms: _Forms,
    asked: Sequence[_Asked],
    found: dict[int, list[Matched]],
) -> None:
    keys = forms.keys(RecordKey.Kind.NEAR, {key for one in asked for key in one.keys})
    if not keys:
        return
    places = _stored_under(keys).order_by("record")
    by_key: dict[int, list[int]] = defaultdict(list)
    for kind, key, pk in places.values_list("kind", "key", "record")[:KEYS_MAX]:
        if (kind, key) in keys:
            by_key[keys[kind, key]].append(pk)
    likely_pks = {pk for several in by_key.values() for pk in several}
    rows = stored.filter(_in_scope(datanet_id), pk__in=likely_pks).order_by("pk")
    candidates = {record.pk: record for record in rows.defer("salt", "wordings")[:CANDIDATES_MAX]}
    for one in asked:
        likely = dict.fromkeys(
            pk for key in one.keys for pk in by_key.get(key, ()) if pk in candidates
        )
        best = _best_by_place(one, likely, candidates, datanet_id)
        for here in (True, False):
            if here in best:
                share, pk = best[here]
                rule = "near_duplicate" if here else "near_duplicate_elsewhere"
                found[one.position].append(Matched(near_finding(rule, share), pk))


def _stored_under(keys: Iterable[tuple[str, int]]) -> QuerySet[RecordKey]:
    """Records with such a key. One of another kind that is the same number may be among them."""
    kinds, numbers = {kind for kind, _ in keys}, [number for _, number in keys]
    return RecordKey.objects.filter(kind__in=kinds, key__in=numbers)


def _best_by_place(
    one: _Asked, likely: Iterable[int], candidates: dict[int, Record], datanet_id: int
) -> dict[bool, tuple[float, int]]:
    """Exact Jaccard of the likely ones; the best here (True) and elsewhere (False)."""
    own = shingles(whole_text(one.content))
    best: dict[bool, tuple[float, int]] = {}
    for pk in islice(likely, CANDIDATES_PER_ROW):
        record = candidates[pk]
        share = jaccard(own, shingles(whole_text(content_of(record))))
        here = record.datanet_id == datanet_id
        if share >= NEAR_JACCARD and share > best.get(here, (0.0, 0))[0]:
            best[here] = (share, pk)
    return best


def _same_question(
    datanet_id: int,
    stored: QuerySet[Record],
    forms: _Forms,
    asked: Sequence[_Asked],
    found: dict[int, list[Matched]],
) -> None:
    """The first stored row that asks the same and answers otherwise, unless the row is a copy."""
    prompts = forms.hashes("prompt_fingerprint", {one.prompt for one in asked if one.prompt})
    prints = forms.hashes("fingerprint", {one.fingerprint for one in asked})
    rows = stored.filter(datanet=datanet_id, prompt_fingerprint__in=prompts).order_by("pk")
    answers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for prompt, fingerprint, pk in rows.values_list("prompt_fingerprint", "fingerprint", "pk")[
        : 4 * CANDIDATES_MAX
    ]:
        answers[prompts[prompt]].append((prints.get(fingerprint, fingerprint), pk))
    for one in asked:
        if any(matched.finding.rule == "duplicate" for matched in found[one.position]):
            continue
        other = next((pk for print_, pk in answers[one.prompt] if print_ != one.fingerprint), None)
        if one.prompt and other is not None:
            found[one.position].append(Matched(copy_finding("same_question"), other))


def _held_out_wordings(
    datanet_id: int,
    stored: QuerySet[Record],
    forms: _Forms,
    asked: Sequence[_Asked],
    found: dict[int, list[Matched]],
) -> None:
    """A question that is a wording kept for measuring another row."""
    by_key = {short_key(one.prompt): one for one in asked if one.prompt}
    keys = forms.keys(RecordKey.Kind.HELD_OUT, by_key)
    places = _stored_under(keys).filter(record__in=stored.filter(datanet=datanet_id))
    rows = places.order_by("record").values_list("kind", "key", "record")
    for kind, key, pk in rows[:CANDIDATES_MAX]:
        if (kind, key) in keys:
            one = by_key[keys[kind, key]]
            found[one.position].append(Matched(copy_finding("held_out"), pk))


def _held_out_rows(found: dict[int, list[Matched]]) -> None:
    """A copy, or nearly one, of a row that a version holds out as a whole."""
    pks = {one.record_pk for several in found.values() for one in several if _is_copy(one.finding)}
    held = set(
        VersionRecord.objects.filter(
            record__in=pks, split=VersionRecord.Split.HELD_OUT
        ).values_list("record", flat=True)
    )
    for several in found.values():
        for one in [each for each in several if each.record_pk in held and _is_copy(each.finding)]:
            share = one.finding.measured or 1.0
            several.append(replace(one, finding=near_finding("held_out", share)))


def _is_copy(finding: Finding) -> bool:
    return "duplicate" in finding.rule
