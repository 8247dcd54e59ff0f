"""Take a file from a contributor: check it in the sandbox, then store all of it or nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from datanets.checks import CheckResult
from datanets.licences import AGREEMENT_VERSION, LICENCES
from datanets.models import Appeal, Contribution, Datanet, Finding, Record, RecordKey, VersionRecord
from datanets.parsing import (
    Limits,
    ParseResult,
    Rejection,
    SandboxUnavailableError,
    parse_upload,
)
from datanets.parsing.confined_process import OnProgress
from datanets.provenance import NOTHING_SAID, mistake_in
from datanets.services.check_contribution import (
    CHECKS_TOO_LONG,
    ask_or_store,
    check_in_job,
    check_in_request,
    scan_upload,
)
from datanets.services.errors import UploadRejected, UploadTooLarge
from datanets.services.follow_withdrawal import tell_followers
from datanets.services.kept_files import discard_file, hold_key, keep_file, opened_file
from datanets.services.limit_rows import refuse_too_many, refuse_unkept
from datanets.services.store_rows import report_of
from datanets.services.summarise_version import take_out_of_summaries
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError, Unavailable
from openledger_site.core.jobs import JobFailed, Lease, cancel_job, start_job
from openledger_site.core.row_security import all_rows

PARSE_JOB = "datanets.parse_contribution"
# A person waits this long for the answer; what takes longer goes on as a job with progress.
CHECK_SECONDS = 10.0
# What a job may take for a file of the largest size, at a few megabytes a second.
FILE_LIMITS = Limits(
    unpacked_bytes=20 << 30, output_bytes=8 << 30, cpu_seconds=3_600, wall_seconds=3_600.0
)
REPORT_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Upload:
    """A complete file on local disk. `filename` is the sender's: shown, sniffed, never a path.

    `digest` is given for one that came in parts: it may be larger, and its bytes become the stored
    ones without being copied.
    """

    path: Path
    filename: str
    digest: str = ""


def submit_contribution(
    *,
    datanet: Datanet,
    contributor: User,
    upload: Upload,
    licence: str,
    agreed: bool,
    title: str = "",
    look_first: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Contribution:
    """Store the upload as a contribution in review, or waiting for its contributor.

    It waits for the names of its columns, for a decision about personal data, and, with
    `look_first`, until its contributor has seen what the checks say.

    Raises `UploadTooLarge` (413), `UploadRejected` (413, 415, 422: the place is named) and
    `DomainError` (licence or agreement missing, provenance against itself, 409: its owner has
    left, 429: too much in a day); then nothing is stored.
    """
    refuse_unkept(datanet)
    if licence not in LICENCES:
        raise DomainError("Choose one of the licences offered.", where="licence")
    if not agreed:
        raise DomainError("Accept the contributor agreement first.", where="agree")
    if mistake := mistake_in(provenance or {}, timezone.now().date()):
        raise DomainError(mistake[1], where=mistake[0])
    size_bytes = upload.path.stat().st_size
    if not upload.digest:
        refuse_oversized(size_bytes)
    refuse_too_many(datanet, contributor)
    contribution = Contribution(
        datanet=datanet,
        contributor=contributor,
        title=(title.strip() or upload.filename or "Rows")[:120],
        filename=upload.filename[-120:],
        size_bytes=size_bytes,
        licence=licence,
        agreement_version=AGREEMENT_VERSION,
        look_first=look_first,
        **(provenance or {}),
        report=scan_upload(upload.path),
    )
    with _parse(upload.path, upload.filename, seconds=CHECK_SECONDS) as result:
        _refuse_bad(result)
        keep_file(contribution, upload.path, upload.digest)
        with check_in_request(contribution, result) as checked, transaction.atomic():
            hold_key(contribution)
            return settle(contribution, result, checked, actor=contributor)


def choose_mapping(
    *, contribution: Contribution, actor: User, mapping: Mapping[str, str]
) -> Contribution:
    """Say which column plays which role, then read the stored file again. Raises as submitting."""
    if contribution.state != Contribution.State.NEEDS_MAPPING:
        raise Conflict("The columns of this contribution are settled.")
    contribution.mapping = dict(mapping)
    return read_again(contribution, actor, Contribution.State.NEEDS_MAPPING)


def read_again(
    contribution: Contribution, actor: User, waiting_for: Contribution.State
) -> Contribution:
    """Read the stored file with what its contributor has said since. Raises as submitting.

    Raises Conflict when it does not wait for that any more.
    """
    mapping = contribution.mapping
    with (
        opened_file(contribution) as path,
        _parse(path, contribution.filename, seconds=CHECK_SECONDS, mapping=mapping) as result,
    ):
        _refuse_bad(result)
        with check_in_request(contribution, result) as checked, transaction.atomic():
            row = Contribution.objects.select_for_update().get(pk=contribution.pk)
            if row.state != waiting_for:
                raise Conflict("This was settled a moment ago.")
            row.mapping = mapping
            return settle(row, result, checked, actor=actor)


def refuse_oversized(size_bytes: int) -> None:
    """Raises `UploadTooLarge`."""
    limit = settings.UPLOAD_SIZE_MAX_BYTES
    if size_bytes > limit:
        raise UploadTooLarge(
            f"The upload has {size_bytes:,} bytes; at most {limit:,} are taken. Split it.",
            where="the whole file",
            limit=limit,
        )


def largest_upload() -> int:
    """Bytes of the largest file that comes in by any way."""
    limits: tuple[int, int] = (
        settings.UPLOAD_SIZE_MAX_BYTES,
        settings.UPLOAD_RESUMABLE_MAX_BYTES,
    )
    return max(limits)


def _parse(
    path: Path,
    filename: str,
    *,
    seconds: float | None = None,
    mapping: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
) -> ParseResult:
    unpacked = min(FILE_LIMITS.unpacked_bytes, max(2 << 30, 10 * path.stat().st_size))
    limits = replace(FILE_LIMITS, file_bytes=largest_upload(), unpacked_bytes=unpacked)
    if seconds is not None:
        limits = replace(limits, wall_seconds=seconds)
    try:
        return parse_upload(path, filename, limits, on_progress, mapping or None)
    except SandboxUnavailableError as problem:
        raise Unavailable("Uploads are closed: this machine cannot read them safely.") from problem


def _too_slow_for_a_request(result: ParseResult) -> bool:
    return result.rejection is not None and result.rejection.code == "takes_too_long"


def _refuse_bad(result: ParseResult) -> None:
    if result.rejection is not None and not _too_slow_for_a_request(result):
        raise UploadRejected(result.rejection)
    if result.status == "accepted" and not result.rows_accepted:
        raise UploadRejected(_no_good_row(result))


def _no_good_row(result: ParseResult) -> Rejection:
    if not result.bad_rows:
        return Rejection(
            422, "no_rows", "The file holds no rows.", "the whole file", "", "Add at least one row."
        )
    bad = result.bad_rows[0]
    column = f", column {bad.column}" if bad.column else ""
    where = (f"{bad.entry}, " if bad.entry else "") + f"row {bad.row}{column}"
    message = f"None of the {result.rows_read} rows can be used. The first, {where}: {bad.cause}."
    return Rejection(422, "no_usable_rows", message, where, "", bad.remedy)


def settle(
    contribution: Contribution,
    result: ParseResult,
    checked: CheckResult | None,
    *,
    actor: User,
) -> Contribution:
    """The contribution and its records, its question, or its job. Call in a transaction."""
    if result.status == "needs_mapping":
        _ask_for_columns(contribution, result)
    elif checked is not None:
        contribution.save()
        ask_or_store(contribution, result, checked)
    else:
        contribution.state = Contribution.State.RECEIVED
        contribution.save()
        contribution.job = start_job(
            PARSE_JOB,
            queue="ingest",
            subject=f"contribution:{contribution.public_id}",
            owner=contribution.contributor,
            payload={"contribution": contribution.pk},
        )
        contribution.save(update_fields=["job"])
    record_audit(
        f"contribution.{contribution.state}",
        actor=actor,
        subject=f"contribution:{contribution.public_id}",
        rows=contribution.rows_accepted,
        size_bytes=contribution.size_bytes,
    )
    return contribution


def _ask_for_columns(contribution: Contribution, result: ParseResult) -> None:
    contribution.state = Contribution.State.NEEDS_MAPPING
    contribution.report = {**contribution.report, **report_of(result)}
    contribution.save()


def parse_contribution(lease: Lease) -> None:
    """The job: read and check the file under the full limits, store it in a fenced transaction."""
    contribution = Contribution.objects.get(pk=lease.job.payload["contribution"])
    with lease.fenced():
        if not _lock_waiting(contribution, Contribution.State.PARSING):
            return
    with (
        opened_file(contribution) as path,
        _parse(
            path,
            contribution.filename,
            mapping=contribution.mapping,
            on_progress=_reporter(lease, "reading", "Read", share=450),
        ) as result,
        check_in_job(
            contribution, result, _reporter(lease, "checking", "Checked", share=450, done=450)
        ) as checked,
    ):
        if checked is not None:
            lease.report("storing", progress=950, message="Storing the rows.")
        with lease.fenced():
            if not _lock_waiting(contribution, Contribution.State.PARSING):
                return
            rejection = _store_or_reject(contribution, result, checked)
    if rejection is not None:
        raise JobFailed(f"{rejection.message} {rejection.remedy}", code=rejection.code)


def _lock_waiting(contribution: Contribution, state: Contribution.State) -> bool:
    """Lock the row and move it to `state`; false when it was withdrawn or stored meanwhile."""
    row = Contribution.objects.select_for_update().get(pk=contribution.pk)
    if not row.waiting:
        return False
    Contribution.objects.filter(pk=row.pk).update(state=state)
    contribution.refresh_from_db()
    return True


def _store_or_reject(
    contribution: Contribution, result: ParseResult, checked: CheckResult | None
) -> Rejection | None:
    rejection = result.rejection
    if result.status == "accepted" and not result.rows_accepted:
        rejection = _no_good_row(result)
    elif result.status == "needs_mapping":
        _ask_for_columns(contribution, result)
        return None
    elif checked is not None:
        ask_or_store(contribution, result, checked)
        return None
    elif rejection is None:
        rejection = CHECKS_TOO_LONG
    contribution.state = Contribution.State.REJECTED
    contribution.report = {**report_of(result), "rejection": asdict(rejection)}
    contribution.save(update_fields=["state", "report"])
    discard_file(contribution)
    return rejection


def _reporter(lease: Lease, kind: str, verb: str, *, share: int, done: int = 0) -> OnProgress:
    """Tell the page a few times a second, and stop the child when the job is taken or cancelled."""
    last = 0.0

    def on_progress(part: float, rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_EVERY_SECONDS:
            last = time.monotonic()
            lease.check()
            progress = done + int(share * part)
            lease.report(kind, progress=progress, message=f"{verb} {rows:,} rows.", rows=rows)

    return on_progress


@all_rows("what was made of the rows follows them, whosever it is")
def withdraw_contribution(*, contribution: Contribution, actor: User) -> None:
    """Destroy text and salts, keep hashes and places: a tombstone that later versions leave out."""
    with transaction.atomic():
        rows = Contribution.objects.select_for_update().defer(*Contribution.SEALED)
        row = rows.get(pk=contribution.pk)
        if row.state == Contribution.State.WITHDRAWN:
            return
        Datanet.objects.select_for_update().get(pk=row.datanet_id)
        take_out_of_summaries(row.records.all())
        withdrawn = list(row.records.values_list("pk", flat=True))
        _empty_records(row.records.all())
        row.personal_data.all().delete()
        if row.job is not None and not row.job.ended:
            cancel_job(row.job)
        # Without a header the names of columns are the first row's texts.
        row.state, row.report, row.mapping = Contribution.State.WITHDRAWN, {}, {}
        for name, nothing in NOTHING_SAID.items():
            setattr(row, name, nothing)
        row.save(update_fields=["state", "report", "mapping", *NOTHING_SAID])
        discard_file(row)
        record_audit("contribution.withdraw", actor=actor, subject=f"contribution:{row.public_id}")
        tell_followers(withdrawn)


def _empty_records(records: Any) -> None:
    Finding.objects.filter(record__in=records).delete()
    RecordKey.objects.filter(record__in=records).delete()
    VersionRecord.objects.filter(record__in=records).update(held_out_wordings=[])
    Appeal.objects.filter(record__in=records).delete()
    records.update(
        state=Record.State.WITHDRAWN,
        escalated=False,
        instruction="",
        response="",
        rejected="",
        text="",
        messages=[],
        wordings={},
        flags=[],
        characters=0,
        language="",
        is_sample=False,
        fingerprint="",
        prompt_fingerprint="",
        salt=b"",
    )
