"""Run the checks over an upload, and store its rows or ask its contributor first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings

from datanets.checks import CheckedRow, CheckResult, ChecksStopped, check_upload
from datanets.checks.first_pass import spot_key
from datanets.checks.malware import scan_file
from datanets.checks.sandbox import LIMITS
from datanets.models import Contribution, PersonalDatum
from datanets.parsing import ParseResult, Rejection, SandboxUnavailableError
from datanets.parsing.confined_process import OnProgress
from datanets.services.errors import UploadRejected
from datanets.services.judge_rows import Tally, judge_rows
from datanets.services.kept_files import discard_file
from datanets.services.store_rows import count_rows, store_rows
from openledger_site.core.errors import Unavailable

# A person waits this long for the checks; what takes longer goes on as a job with progress.
REQUEST_SECONDS = 20.0
# More rows than this are checked and stored by the job.
ROWS_IN_REQUEST_MAX = 5_000
# Nobody can decide about more, one by one or by kind: such a file is to be cleaned first.
PERSONAL_DATA_MAX = 20_000
CHECKS_TOO_LONG = Rejection(
    413,
    "checks_take_too_long",
    "Checking the rows takes longer than an hour.",
    "the content",
    f"{LIMITS.wall_seconds:g} seconds",
    "Split the file into several uploads.",
)


def scan_upload(path: Path) -> dict[str, Any]:
    """What the report says about malware: clean, found (with its name) or not scanned (why not)."""
    scan = scan_file(path, settings.CLAMD_SOCKET)
    if scan.state == "found":
        return {"malware_scan": "found", "malware_found": scan.name}
    return {"malware_scan": "clean" if scan.state == "clean" else f"not scanned: {scan.name}"}


@contextmanager
def check_in_request(
    contribution: Contribution, result: ParseResult
) -> Iterator[CheckResult | None]:
    """The checked rows, or None: nothing to check, or too much for a person to wait for."""
    if result.status != "accepted" or result.rows_accepted > ROWS_IN_REQUEST_MAX:
        yield None
        return
    limits = replace(LIMITS, wall_seconds=REQUEST_SECONDS)
    try:
        checked = check_upload(result, decisions_of(contribution), limits=limits)
    except ChecksStopped:
        yield None  # the job has more time, and more attempts
        return
    except SandboxUnavailableError as problem:
        raise Unavailable("Uploads are closed: this machine cannot check them safely.") from problem
    with checked:
        yield checked


@contextmanager
def check_in_job(
    contribution: Contribution, result: ParseResult, on_progress: OnProgress
) -> Iterator[CheckResult | None]:
    """The checked rows; None when there are none, or when the checks take too long."""
    if result.status != "accepted" or not result.rows_accepted:
        yield None
        return
    try:
        checked = check_upload(result, decisions_of(contribution), on_progress=on_progress)
    except ChecksStopped as stopped:
        if not stopped.too_slow:
            raise
        yield None
        return
    with checked:
        yield checked


def decisions_of(contribution: Contribution) -> dict[str, str]:
    """What was decided about personal data, as the checks read it."""
    if contribution._state.adding:
        return {}
    return {
        spot_key(one.position, one.column, one.start, one.kind): one.choice
        for one in contribution.personal_data.exclude(choice="")
    }


def ask_or_store(contribution: Contribution, result: ParseResult, checked: CheckResult) -> None:
    """Store the rows, unless their contributor has to decide or wants to look. In a transaction.

    A file that held data to be redacted or dropped is destroyed once its rows are stored.
    """
    asks = _ask_about_personal_data(contribution, checked)
    if asks or (contribution.look_first and contribution.decided_at is None):
        tally = Tally()
        for _ in judge_rows(contribution, checked, tally):
            pass
        tally.forget_left_out()  # said again when it is stored
        count_rows(contribution, result, tally)
        contribution.report["checks"]["personal_data"] = asks
        contribution.state = Contribution.State.NEEDS_DECISION
        contribution.save()
        return
    store_rows(contribution, result, checked)
    gone = [PersonalDatum.Choice.REDACT, PersonalDatum.Choice.DROP]
    if contribution.personal_data.filter(choice__in=gone).update(masked=""):
        discard_file(contribution)


def _ask_about_personal_data(contribution: Contribution, checked: CheckResult) -> dict[str, int]:
    """Note each undecided place; returns how many of each kind there are."""
    places: list[PersonalDatum] = []
    for row in checked.rows():
        places += _places(contribution, row)
        if len(places) > PERSONAL_DATA_MAX:
            raise UploadRejected(_too_much_personal_data())
    PersonalDatum.objects.bulk_create(places, batch_size=1_000, ignore_conflicts=True)
    return dict(Counter(place.kind for place in places))


def _places(contribution: Contribution, row: CheckedRow) -> list[PersonalDatum]:
    if row.row is None:
        return []
    return [
        PersonalDatum(
            contribution=contribution,
            position=row.position,
            row=row.row.number,
            entry=row.row.entry[:200],
            column=one["column"],
            kind=one["kind"],
            start=one["start"],
            masked=one["masked"],
        )
        for one in row.personal_data
    ]


def _too_much_personal_data() -> Rejection:
    return Rejection(
        422,
        "too_much_personal_data",
        f"The file holds more than {PERSONAL_DATA_MAX:,} places that look like personal data.",
        "the content",
        f"{PERSONAL_DATA_MAX:,} places",
        "Remove them from the file and send it again.",
    )
