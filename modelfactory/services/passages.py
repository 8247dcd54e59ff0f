"""Find the training rows that fit a question, to put them before the model. Torch-free."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from datanets.models import Version
from datanets.selectors import training_rows, withdrawn_training_records
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.models import Model
from modelfactory.training.chat import record_passage
from openledger_site.core.row_security import all_rows

VERSIONS_CACHED = 32


@dataclass(frozen=True)
class Passage:
    """A retrieved row: its public id, its text as the model reads it, and its BM25 score."""

    record_id: str
    text: str
    score: float


@dataclass(frozen=True)
class _Corpus:
    record_ids: list[str]
    texts: list[str]
    index: LexicalIndex


# By version, least recently used first: the number of rows withdrawn, and what is made of the rest.
_corpora: OrderedDict[int, tuple[int, _Corpus]] = OrderedDict()


def _corpus(version: Version) -> _Corpus:
    """The passages of a version and their index, kept in memory until a row is withdrawn.

    A version never changes and a withdrawal is never undone, so their number names the rows left.
    """
    with all_rows("which rows are left is the same for every reader"):
        withdrawn = withdrawn_training_records(version).count()
    kept = _corpora.pop(version.pk, None)
    if kept is None or kept[0] != withdrawn:
        ids, texts = [], []
        for row in training_rows(version):
            ids.append(row.record_id)
            texts.append(passage_text(row.question, row.answer, row.text))
        kept = (withdrawn, _Corpus(ids, texts, LexicalIndex.from_texts(texts)))
    _corpora[version.pk] = kept
    while len(_corpora) > VERSIONS_CACHED:
        _corpora.popitem(last=False)
    return kept[1]


def passage_text(question: str, answer: str, text: str) -> str:
    """A row as the model reads it, on one line: passages are handed over line by line."""
    return " ".join((record_passage(question, answer) if question else text).split())


def retrieve_passages(model: Model, question: str, k: int) -> list[Passage]:
    """At most `k` training rows of `model` for `question`, best first, none that was withdrawn.

    Hand their texts, in this order, to `modelfactory.training.chat.messages_for`.
    """
    return passages_of(model.run.version, question, k)


def passages_of(version: Version, question: str, k: int) -> list[Passage]:
    """As `retrieve_passages`, for a version."""
    if k < 1:
        return []
    corpus = _corpus(version)
    return [
        Passage(corpus.record_ids[hit.position], corpus.texts[hit.position], hit.score)
        for hit in corpus.index.retrieve(question, k)
    ]


def passages_about(model: Model, question: str, passages: Sequence[Passage]) -> list[Passage]:
    """Those of `passages` that are about the question by its rare words (`LexicalIndex.about`)."""
    index = _corpus(model.run.version).index
    about = index.about(question, [passage.text for passage in passages])
    return [passage for passage, fits in zip(passages, about, strict=True) if fits]
