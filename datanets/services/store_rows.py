"""Parsed rows into records: one transaction of the caller's, all of them or none."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from django.db.models import Exists, OuterRef, Subquery

from datanets.checks import CheckResult
from datanets.checks import Finding as CheckFinding
from datanets.checks.rows import content_of_row
from datanets.content import (
    Content,
    content_hash,
    fingerprint,
    plain_words,
    prompt_fingerprint,
    prompt_of,
    row_fingerprint,
    short_key,
    whole_text,
)
from datanets.models import Contribution, Datanet, Finding, PersonalDatum, Record, RecordKey
from datanets.models.sealed import keyer_for
from datanets.parsing import BadRow, ParseResult
from datanets.services.judge_rows import BAD_ROWS_KEPT, JudgedRow, Tally, judge_rows
from datanets.wordings import held_out_wordings, training_wordings
from openledger_site.core.row_security import all_rows
from openledger_site.core.sealing import HashKeyer

# Rewording a page of text helps nobody and multiplies its size.
REWORDED_CHARACTERS_MAX = 2_000
LIKE_RULES = ("duplicate", "near_duplicate", "same_question")
SCAN_KEYS = ("malware_scan", "malware_found")


def store_rows(contribution: Contribution, result: ParseResult, checked: CheckResult) -> None:
    """Insert the accepted rows with their findings, and put the contribution in review.

    Call in a transaction: it locks the Datanet, so that two uploads of the same row see each other.
    """
    contribution.datanet = Datanet.objects.select_for_update().get(pk=contribution.datanet_id)
    tally, keyer = Tally(), keyer_for(contribution.datanet)
    stored = array("q", [0])  # the record of each position, which counts from 1; 0: left out
    for batch in judge_rows(contribution, checked, tally):
        kept = [row for row in batch if row.left_out is None]
        records = Record.objects.bulk_create([_record(contribution, row) for row in kept])
        by_position = {record.position: record.pk for record in records}
        stored.extend(by_position.get(row.position, 0) for row in batch)
        pairs = zip(kept, records, strict=True)
        keys = [key for row, record in pairs for key in record_keys(record, row.keys, keyer)]
        RecordKey.objects.bulk_create(keys, batch_size=5_000)
        findings = [one for row in kept for one in _findings(row, stored)]
        Finding.objects.bulk_create(findings, batch_size=1_000)
    _point_at_first(contribution)
    say_why_kept(contribution)
    count_rows(contribution, result, tally)
    waits = bool(contribution.rows_accepted)
    contribution.state = Contribution.State.IN_REVIEW if waits else Contribution.State.DECIDED
    contribution.save()


def count_rows(contribution: Contribution, result: ParseResult, tally: Tally) -> None:
    """Put the counts and the report on the contribution; rows left out now are rejected rows."""
    scan = {name: contribution.report[name] for name in SCAN_KEYS if name in contribution.report}
    contribution.rows_read = result.rows_read
    contribution.rows_accepted = result.rows_accepted - tally.left_out_count
    contribution.rows_rejected = result.rows_rejected + tally.left_out_count
    contribution.report = {**report_of(result, tally.left_out), **scan, "checks": tally.as_json()}


def record_keys(
    record: Record, near_keys: Iterable[int], keyer: HashKeyer | None
) -> Iterator[RecordKey]:
    """By what the record is found again; `near_keys` are the bands of its MinHash."""
    held_out = (short_key(fingerprint(wording)) for wording in record.wordings.get("held_out", ()))
    kinds = {RecordKey.Kind.NEAR: near_keys, RecordKey.Kind.HELD_OUT: held_out}
    for plain_kind, keys in kinds.items():
        for plain_key in keys:
            kind, key = RecordKey.stored(plain_kind, plain_key, keyer)
            yield RecordKey(record=record, kind=kind, key=key)


def _findings(row: JudgedRow, stored: Sequence[int]) -> Iterator[Finding]:
    own = stored[row.position]
    for one in row.findings:
        yield _finding(own, one, stored[one.match] or None if one.match else None)
    for matched in row.matched:
        yield _finding(own, matched.finding, matched.record_pk)


def _finding(record_pk: int, one: CheckFinding, match_pk: int | None) -> Finding:
    return Finding(
        record_id=record_pk,
        rule=one.rule,
        measured=one.measured,
        threshold=one.threshold,
        sentence=one.sentence,
        column=one.column,
        start=one.start,
        end=one.end,
        match_id=match_pk,
    )


def say_why_kept(contribution: Contribution) -> None:
    """Add the contributor's reason to each finding of personal data that was kept."""
    kept = contribution.personal_data.filter(choice=PersonalDatum.Choice.KEEP)
    reasons = {(one.position, one.column, one.start): one.reason for one in kept}
    findings = Finding.objects.filter(
        record__contribution=contribution, rule="personal_data"
    ).select_related("record")
    changed = []
    for finding in findings:
        reason = reasons.get((finding.record.position, finding.column, finding.start or 0))
        if reason:
            finding.sentence = f"{finding.sentence} Reason: {reason}"[:400]
            changed.append(finding)
    Finding.objects.bulk_update(changed, ["sentence"], batch_size=1_000)


def report_of(result: ParseResult, left_out: Sequence[BadRow] = ()) -> dict[str, Any]:
    """What the contributor is told about the file; holds places and causes, and no accepted row."""
    mapping, rejection = result.needs_mapping, result.rejection
    return {
        "format": result.format,
        "format_found_by": result.format_found_by,
        "kinds": dict(result.kinds),
        "ignored_columns": list(result.ignored_columns),
        "bad_rows": [asdict(bad) for bad in [*result.bad_rows, *left_out][:BAD_ROWS_KEPT]],
        "needs_mapping": asdict(mapping) if mapping else None,
        "rejection": asdict(rejection) if rejection else None,
        "seconds": round(result.wall_seconds, 3),
        "peak_memory_bytes": result.peak_memory_bytes,
    }


def _record(contribution: Contribution, judged: JudgedRow) -> Record:
    row = judged.row
    if row is None:
        raise ValueError("A row that was dropped is not stored.")
    content = content_of_row(row)
    flags = {one.rule for one in judged.findings} | {one.finding.rule for one in judged.matched}
    return Record(
        contribution=contribution,
        datanet=contribution.datanet,
        position=judged.position,
        kind=row.kind,
        instruction=row.instruction,
        response=row.response,
        rejected=row.rejected,
        text=row.text,
        messages=[dict(message) for message in content.messages],
        wordings=wordings_of(content, row.extra_wordings),
        content_hash=content_hash(content),
        fingerprint=row_fingerprint(content),
        prompt_fingerprint=prompt_fingerprint(content),
        flags=sorted(flags),
        characters=len(whole_text(content)),
        language=judged.language,
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


@all_rows("the row that it is like may be another contributor's")
def _point_at_first(contribution: Contribution) -> None:
    """The row to show beside each: a copy before a near copy before another answer, by name."""
    like = Finding.objects.filter(
        record=OuterRef("pk"), rule__in=LIKE_RULES, match__datanet=contribution.datanet_id
    ).order_by("rule", "match")
    Record.objects.filter(Exists(like), contribution=contribution).update(
        duplicate_of=Subquery(like.values("match")[:1])
    )
