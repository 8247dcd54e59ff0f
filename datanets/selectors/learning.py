"""What learning reads: the rows of a version, its evaluation questions, and cards for receipts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404

from datanets.content import Content, answer_of, content_hash, prompt_of
from datanets.models import Record, Version, VersionRecord
from datanets.models.sealed import is_keyed
from datanets.selectors.access import readable_by, trainable_by
from openledger_site.core.row_security import all_rows

_CHUNK_ROWS = 1_000
_TRAIN, _HELD_OUT = VersionRecord.Split.TRAIN, VersionRecord.Split.HELD_OUT


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One record to learn from. `wordings` ask the same as `question`; text has only `text`."""

    record_id: str
    contributor_id: str
    question: str
    wordings: tuple[str, ...]
    answer: str
    text: str


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """A question that no training row of the version asks in these words."""

    record_id: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class RecordCard:
    """A record on a receipt. `question`, `answer` and `text` are empty without a right to read.

    `content_hash` is the stored one, of a private row keyed: a receipt confirms no guess either.
    """

    record_id: str
    content_hash: str
    contributor_pk: int
    contributor_id: str
    contributor_name: str
    contribution_id: str
    datanet_name: str
    licence: str
    state: str
    url: str
    readable: bool
    question: str
    answer: str
    text: str


def versions_for_training(user: Any) -> QuerySet[Version]:
    """Versions this person may train on, the newest first."""
    rows = Version.objects.filter(datanet__in=trainable_by(user), state=Version.State.ACTIVE)
    return rows.select_related("datanet").order_by("-id")


def version_for_training(user: Any, public_id: Any) -> Version:
    """The version, for somebody with a right to read or to train; 404 for everybody else."""
    version = versions_for_training(user).filter(public_id=public_id).first()
    if version is None:
        raise Http404("No such version.")
    return version


def content_of(record: Record) -> Content:
    return Content(
        kind=record.kind,
        instruction=record.instruction,
        response=record.response,
        rejected=record.rejected,
        text=record.text,
        messages=tuple(record.messages),
    )


def plain_hash(record: Record) -> str:
    """The SHA-256 of a row. Of a private one it is stored nowhere: "" once its text is gone."""
    if not is_keyed(record.content_hash):
        return record.content_hash
    return "" if record.state == Record.State.WITHDRAWN else content_hash(content_of(record))


def _entries(version: Version) -> QuerySet[VersionRecord]:
    """In the version's order, without what was withdrawn since."""
    rows = version.entries.exclude(record__state=Record.State.WITHDRAWN)
    return rows.select_related("record__contribution__contributor").order_by("position")


def _read(entries: QuerySet[VersionRecord]) -> Iterator[VersionRecord]:
    """Whoever trains may have no right to read: what reads them checked the right to train."""
    rows = entries.iterator(chunk_size=_CHUNK_ROWS)
    while True:
        with all_rows("to learn from rows is another right than to read them"):
            chunk = list(islice(rows, _CHUNK_ROWS))
        if not chunk:
            return
        yield from chunk


def training_rows(version: Version) -> Iterator[TrainingRow]:
    """The rows to learn from, in the version's order. The caller has checked the right to train."""
    for entry in _read(_entries(version).filter(split=_TRAIN)):
        record = entry.record
        content = content_of(record)
        question = "" if record.kind == Record.Kind.TEXT else prompt_of(content)
        asked = [*record.wordings.get("own", ()), *record.wordings.get("training", ())]
        yield TrainingRow(
            record_id=str(record.public_id),
            contributor_id=str(record.contribution.contributor.public_id),
            question=question,
            wordings=tuple(wording for wording in dict.fromkeys(asked) if wording != question),
            answer=answer_of(content),
            text=record.text,
        )


def withdrawn_training_records(version: Version) -> QuerySet[Record]:
    """The version's training records that were withdrawn since. A withdrawal is never undone, so
    their number tells one state from every other."""
    return Record.objects.filter(
        datanet_id=version.datanet_id,
        state=Record.State.WITHDRAWN,
        version_entries__version=version,
        version_entries__split=_TRAIN,
    )


def evaluation_rows(version: Version) -> Iterator[EvaluationRow]:
    """Held-out wordings of every row, and the whole prompts that the split holds out."""
    for entry in _read(_entries(version)):
        record = entry.record
        content = content_of(record)
        answer = answer_of(content)
        own = [prompt_of(content)] if entry.split == _HELD_OUT and answer else []
        for question in [*own, *entry.held_out_wordings]:
            yield EvaluationRow(record_id=str(record.public_id), question=question, answer=answer)


@all_rows("a receipt names every row; its text is put in only with a right to read it")
def record_cards(user: Any, record_ids: Iterable[Any]) -> dict[str, RecordCard]:
    """Cards by record id (as text), in one query; text only with a right to read it."""
    reads = Exists(readable_by(user).filter(pk=OuterRef("datanet_id")))
    rows = (
        Record.objects.filter(public_id__in=list(record_ids))
        .select_related("contribution__contributor", "datanet")
        .annotate(
            reads=Q(reads, state=Record.State.APPROVED) | Q(contribution__contributor=user.pk)
        )
    )
    return {str(row.public_id): _card(row) for row in rows}


def _card(record: Any) -> RecordCard:
    contribution, readable = record.contribution, bool(record.reads)
    content = content_of(record)
    return RecordCard(
        record_id=str(record.public_id),
        content_hash=record.content_hash,
        contributor_pk=contribution.contributor_id,
        contributor_id=str(contribution.contributor.public_id),
        contributor_name=contribution.contributor.name,
        contribution_id=str(contribution.public_id),
        datanet_name=record.datanet.name if readable else "",
        licence=contribution.licence,
        state=record.state,
        url=record.get_absolute_url(),
        readable=readable,
        question=prompt_of(content) if readable and record.kind != Record.Kind.TEXT else "",
        answer=answer_of(content) if readable else "",
        text=record.text if readable else "",
    )
