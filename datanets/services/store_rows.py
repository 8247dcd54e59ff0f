"""Parsed rows into records: one transaction of the caller's, all of them or none."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery

from datanets.content import (
    Content,
    content_hash,
    plain_words,
    prompt_fingerprint,
    prompt_of,
    row_fingerprint,
)
from datanets.models import Contribution, Datanet, Record
from datanets.parsing import ParseResult, Row
from datanets.wordings import held_out_wordings, training_wordings

BATCH_ROWS = 1_000
BAD_ROWS_KEPT = 1_000
# Rewording a page of text helps nobody and multiplies its size.
REWORDED_CHARACTERS_MAX = 2_000
GONE = (Record.State.WITHDRAWN, Record.State.REJECTED)


def store_rows(contribution: Contribution, result: ParseResult) -> None:
    """Insert the accepted rows, mark duplicates, and put the contribution in review.

    Call in a transaction: it locks the Datanet, so that two uploads of the same row see each other.
    """
    Datanet.objects.select_for_update().get(pk=contribution.datanet_id)
    records = (_record(contribution, at, row) for at, row in enumerate(result.rows(), start=1))
    for batch in _batches(records):
        Record.objects.bulk_create(batch)
    _mark_duplicates(contribution)
    contribution.rows_read = result.rows_read
    contribution.rows_accepted = result.rows_accepted
    contribution.rows_rejected = result.rows_rejected
    contribution.report = report_of(result)
    contribution.state = Contribution.State.IN_REVIEW
    contribution.save()


def report_of(result: ParseResult) -> dict[str, Any]:
    """What the contributor is told about the file; holds places and causes, and no accepted row."""
    mapping, rejection = result.needs_mapping, result.rejection
    return {
        "format": result.format,
        "format_found_by": result.format_found_by,
        "kinds": dict(result.kinds),
        "ignored_columns": list(result.ignored_columns),
        "bad_rows": [asdict(bad) for bad in result.bad_rows[:BAD_ROWS_KEPT]],
        "needs_mapping": asdict(mapping) if mapping else None,
        "rejection": asdict(rejection) if rejection else None,
        "seconds": round(result.wall_seconds, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
    }


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch


def _record(contribution: Contribution, position: int, row: Row) -> Record:
    messages = tuple({"role": turn.role, "content": turn.content} for turn in row.messages)
    content = Content(
        kind=row.kind,
        instruction=row.instruction,
        response=row.response,
        rejected=row.rejected,
        text=row.text,
        messages=messages,
    )
    return Record(
        contribution=contribution,
        datanet_id=contribution.datanet_id,
        position=position,
        kind=row.kind,
        instruction=row.instruction,
        response=row.response,
        rejected=row.rejected,
        text=row.text,
        messages=list(messages),
        wordings=wordings_of(content, row.extra_wordings),
        content_hash=content_hash(content),
        fingerprint=row_fingerprint(content),
        prompt_fingerprint=prompt_fingerprint(content),
        salt=secrets.token_bytes(32),
    )


def wordings_of(content: Content, own: Iterable[str]) -> dict[str, list[str]]:
    """The contributor's own wordings and those made by rule; held-out ones are never trained."""
    question = prompt_of(content)
    made: dict[str, list[str]] = {"own": list(own), "training": [], "held_out": []}
    if content.kind == Record.Kind.TEXT or len(question) > REWORDED_CHARACTERS_MAX:
        return made
    made["training"] = [wording.text for wording in training_wordings(question)]
    trained = {plain_words(text) for text in [question, *made["own"], *made["training"]]}
    made["held_out"] = [
        wording.text
        for wording in held_out_wordings(question)
        if plain_words(wording.text) not in trained
    ]
    return made


def _mark_duplicates(contribution: Contribution) -> None:
    """The same row again points at the first; the same question with another answer is flagged."""
    kept = Record.objects.filter(datanet=contribution.datanet_id).exclude(state__in=GONE)
    same_row = kept.filter(fingerprint=OuterRef("fingerprint"), pk__lt=OuterRef("pk"))
    same_prompt = kept.filter(
        ~Q(fingerprint=OuterRef("fingerprint")),
        prompt_fingerprint=OuterRef("prompt_fingerprint"),
        pk__lt=OuterRef("pk"),
    )
    for flag, match in (("duplicate", same_row), ("same_question", same_prompt)):
        first = match.order_by("pk").values("pk")[:1]
        Record.objects.filter(Exists(match), contribution=contribution, flags=[]).update(
            duplicate_of=Subquery(first), flags=[flag]
        )
