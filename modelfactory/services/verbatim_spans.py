"""Find the words of an answer that stand verbatim in the rows its model was trained on. Torch-free.

The text index lives in the attribution worker's memory and nowhere else: it is made from the rows
when it is first asked for, so that no copy of private text lies on disk. It is made again, and the
old one let go, as soon as a row of the version is withdrawn (docs/decisions/0014).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from datanets.models import Record, Version
from datanets.selectors import training_rows
from modelfactory.attribution.spans import Span, SpanIndex
from modelfactory.models import Model
from openledger_site.core.row_security import all_rows

CACHE_BYTES = 256 * 2**20
"""Of all text indexes that a worker keeps between answers."""
WORDS_MAX = 10_000_000
"""Of one version: about 100 MB while it is kept, half a minute to index."""


@dataclass(frozen=True)
class _Cached:
    withdrawn: frozenset[int]
    index: SpanIndex


# Least recently used first.
_cache: OrderedDict[int, _Cached] = OrderedDict()


def verbatim_spans(model: Model, *, question: str, answer: str) -> list[Span]:
    """The spans of `answer` that stand in trained rows, in its order; see `SpanIndex.find`.

    Raises `TooMuchTextError` for a version of more than `WORDS_MAX` words.
    """
    return _index_of(model.run.version).find(answer, question)


@all_rows("the index is of all rows; the places are told by the right to read")
def _index_of(version: Version) -> SpanIndex:
    """The index of exactly the rows that are not withdrawn at this moment."""
    withdrawn = frozenset(
        version.entries.filter(record__state=Record.State.WITHDRAWN).values_list(
            "record", flat=True
        )
    )
    cached = _cache.pop(version.pk, None)
    if cached is None or cached.withdrawn != withdrawn:
        rows = ((row.record_id, row.answer or row.text) for row in training_rows(version))
        cached = _Cached(withdrawn, SpanIndex(rows, words_maximum=WORDS_MAX))
    _cache[version.pk] = cached
    while sum(each.index.size_bytes for each in _cache.values()) > CACHE_BYTES:
        _cache.popitem(last=False)
    return cached.index
