"""Find the training rows that fit a question, to put them before the model. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from datanets.models import Record, Version
from datanets.selectors import training_rows
from modelfactory.attribution.lexical import LexicalIndex
from modelfactory.models import Model
from modelfactory.training.chat import record_passage

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


@lru_cache(maxsize=VERSIONS_CACHED)
def _corpus(version_id: int) -> _Corpus:
    """The passages of a version and their index, kept in memory: a version never changes."""
    ids, texts = [], []
    for row in training_rows(Version.objects.get(pk=version_id)):
        ids.append(row.record_id)
        texts.append(passage_text(row.question, row.answer, row.text))
    return _Corpus(ids, texts, LexicalIndex.from_texts(texts))


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
    corpus = _corpus(version.pk)
    hits = corpus.index.retrieve(question, 2 * k)
    found = [
        Passage(corpus.record_ids[h.position], corpus.texts[h.position], h.score) for h in hits
    ]
    withdrawn = {
        str(public_id)
        for public_id in Record.objects.filter(
            public_id__in=[passage.record_id for passage in found], state=Record.State.WITHDRAWN
        ).values_list("public_id", flat=True)
    }
    return [passage for passage in found if passage.record_id not in withdrawn][:k]
