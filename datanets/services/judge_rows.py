"""All findings of an upload, row by row: of the checks, of the comparison, of the owner's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from datanets.checks import RULES, CheckedRow, CheckResult, Finding
from datanets.models import Contribution
from datanets.parsing import BadRow, Row
from datanets.selectors import records_visible_to
from datanets.services.compare_rows import Matched, compare_rows

BATCH_ROWS = 1_000
BAD_ROWS_KEPT = 1_000
FINDINGS_PER_ROW = 20
COPY_RULES = frozenset(["duplicate", "near_duplicate"])


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A row with everything that was found; `left_out` says why it is not stored, or nothing."""

    position: int
    row: Row | None
    findings: tuple[Finding, ...]
    matched: tuple[Matched, ...]
    keys: tuple[int, ...]
    left_out: BadRow | None
    language: str = ""


@dataclass(slots=True)
class Tally:
    """Counts for the contributor: nothing in them tells of a row that they may not see."""

    rows: int = 0
    new_rows: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    left_out_count: int = 0
    left_out: list[BadRow] = field(default_factory=list)
    """The first `BAD_ROWS_KEPT` of them."""

    def leave_out(self, bad: BadRow) -> None:
        self.left_out_count += 1
        if len(self.left_out) < BAD_ROWS_KEPT:
            self.left_out.append(bad)

    def forget_left_out(self) -> None:
        self.left_out_count = 0
        self.left_out.clear()

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "new_rows": self.new_rows,
            "flags": dict(self.flags.most_common()),
        }


def judge_rows(
    contribution: Contribution, checked: CheckResult, tally: Tally
) -> Iterator[list[JudgedRow]]:
    """Batches in the order of the file; `tally` is filled as they come."""
    rows = checked.rows()
    while batch := list(islice(rows, BATCH_ROWS)):
        matches = compare_rows(contribution, batch)
        pks = {one.record_pk for several in matches.values() for one in several}
        visible = visible_matches(contribution, pks)
        judged = [
            _judge(contribution, row, matches.get(row.position, []), visible) for row in batch
        ]
        _count(judged, visible, tally)
        yield judged


def _judge(
    contribution: Contribution, row: CheckedRow, matched: list[Matched], visible: set[int]
) -> JudgedRow:
    """The checks compare within the upload, `matched` with what is stored: both are told.

    A row is not left out for a match that its contributor may not see, which would confirm a guess
    of it: reviewers see the label and decide.
    """
    findings = list(row.findings)
    if malware := contribution.report.get("malware_found"):
        findings.append(_malware(malware))
    return JudgedRow(
        row.position,
        row.row,
        tuple(findings[:FINDINGS_PER_ROW]),
        tuple(matched[:FINDINGS_PER_ROW]),
        row.keys,
        _left_out(
            contribution,
            row,
            [*findings, *(one.finding for one in matched if one.record_pk in visible)],
        ),
        row.language,
    )


def _malware(name: str) -> Finding:
    return Finding(rule="malware", sentence=f"ClamAV knows the file as {name}.")


def _left_out(
    contribution: Contribution, row: CheckedRow, findings: list[Finding]
) -> BadRow | None:
    if row.row is None:
        cause = "You chose to leave it out: it holds personal data"
        return BadRow(row.position, "", cause, "Nothing to do.")
    refused = set(contribution.datanet.left_out_rules)
    for finding in findings:
        if finding.rule in refused:
            title = RULES[finding.rule].title
            cause = f"This Datanet's owner leaves out such rows: {title}. {finding.sentence}"
            remedy = "Change the row, or ask the owner."
            return BadRow(row.row.number, finding.column, cause, remedy, row.row.entry)
    return None


def _count(judged: list[JudgedRow], visible: set[int], tally: Tally) -> None:
    for row in judged:
        if row.left_out is not None:
            tally.leave_out(row.left_out)
        if row.row is None:
            continue
        seen = {one.finding.rule for one in row.matched if one.record_pk in visible}
        rules = seen | {one.rule for one in row.findings}
        tally.rows += 1
        tally.new_rows += not rules & COPY_RULES
        tally.flags.update(rules)


def visible_matches(contribution: Contribution, pks: set[int]) -> set[int]:
    """Those of the records that the contributor may see: a count must not tell of the others."""
    visible = records_visible_to(contribution.contributor).filter(pk__in=pks)
    return set(visible.values_list("pk", flat=True))
