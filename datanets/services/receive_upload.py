"""Take a file in parts, so that neither a cut connection nor a crash costs more than one part.

Bytes are on disk before the row says so, and the row is the truth: what a crash left beyond its
offset is cut off by the next part, and a file that holds less (a restored disk) lowers it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Sum
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now
from psycopg.errors import LockNotAvailable

from datanets.models import Datanet, ResumableUpload
from datanets.services.errors import (
    ChecksumMismatch,
    OutOfDisk,
    UploadBusy,
    UploadTooLarge,
    WrongOffset,
)
from datanets.services.limit_rows import refuse_unkept
from openledger_site.accounts.models import User
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.storage import digest_of

PART_MAX_BYTES = 64 << 20
UPLOADS_OPEN_MAX = 20
# Files on their way in may never fill the disk that the database and the models live on.
DISK_KEPT_FREE = 0.05


def begin_upload(
    *, datanet: Datanet, owner: User, filename: str, size_bytes: int, expected_digest: str = ""
) -> ResumableUpload:
    """An empty upload that waits for its first part.

    Raises `UploadTooLarge` (413: one file, or all unfinished ones of this person), `Conflict` (too
    many of them, or the Datanet's owner has left), `OutOfDisk` (507) and `DomainError` (nothing to
    send).
    """
    refuse_unkept(datanet)
    if not size_bytes:
        raise DomainError("The file is empty: it has 0 bytes.", where="Upload-Length")
    _refuse_large(size_bytes)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=owner.pk)
        _refuse_over_quota(owner, size_bytes)
        upload = ResumableUpload.objects.create(
            datanet=datanet,
            owner=owner,
            filename=filename[-120:],
            size_bytes=size_bytes,
            expected_digest=expected_digest,
            expires_at=_expiry(),
        )
        upload.refresh_from_db()
    return upload


def _refuse_large(size_bytes: int) -> None:
    limit = settings.UPLOAD_RESUMABLE_MAX_BYTES
    if size_bytes > limit:
        raise UploadTooLarge(
            f"The file has {size_bytes:,} bytes; at most {limit:,} are taken. Split it.",
            where="Upload-Length",
            limit=limit,
        )
    space = shutil.disk_usage(_folder())
    if space.free - size_bytes < DISK_KEPT_FREE * space.total:
        raise OutOfDisk


def _refuse_over_quota(owner: User, size_bytes: int) -> None:
    """Announced sizes count, not what has come: ten begun files would otherwise all fit."""
    unfinished = ResumableUpload.objects.filter(owner=owner)
    if unfinished.count() >= UPLOADS_OPEN_MAX:
        raise Conflict(
            f"You have {UPLOADS_OPEN_MAX} uploads that were never sent for review."
            " Send or discard one first.",
            code="too_many_uploads",
            limit=UPLOADS_OPEN_MAX,
        )
    held = unfinished.aggregate(total=Sum("size_bytes"))["total"] or 0
    limit = settings.UPLOAD_QUOTA_BYTES
    if held + size_bytes > limit:
        raise UploadTooLarge(
            f"With this file your unfinished uploads would take {held + size_bytes:,} bytes;"
            f" {limit:,} are yours. Send or discard one first.",
            where="Upload-Length",
            limit=limit,
            code="quota_reached",
        )


def append_part(
    *,
    upload: ResumableUpload,
    offset_bytes: int,
    chunks: Iterable[bytes],
    checksum: bytes | None = None,
) -> ResumableUpload:
    """Write one part at `offset_bytes`; the last one also gives the upload its digest.

    `checksum` is the SHA-256 of this part, if the sender gave one. Raises `WrongOffset` (409),
    `UploadBusy` (423), `ChecksumMismatch` (460) and `UploadTooLarge` (413); then the offset stays.
    A whole file that is not what its sender announced is destroyed.
    """
    with _locked(upload) as row, _opened(row) as file:
        row.offset_bytes = min(row.offset_bytes, os.fstat(file.fileno()).st_size)
        if row.digest or offset_bytes != row.offset_bytes:
            raise WrongOffset(row.offset_bytes)
        file.truncate(offset_bytes)
        row.offset_bytes += _write(row, file, chunks, checksum)
        if row.offset_bytes == row.size_bytes:
            row.digest = digest_of(path_of(row))
        row.expires_at = _expiry()
        row.save(update_fields=["offset_bytes", "digest", "expires_at"])
        row.refresh_from_db()
    if row.digest and row.expected_digest not in ("", row.digest):
        discard_upload(upload=row)
        raise _another_file()
    return row


def _opened(upload: ResumableUpload) -> IO[bytes]:
    """The file so far, made by the first part."""
    return os.fdopen(os.open(path_of(upload), os.O_RDWR | os.O_CREAT, 0o644), "r+b")


def _write(
    upload: ResumableUpload, file: IO[bytes], chunks: Iterable[bytes], checksum: bytes | None
) -> int:
    """Bytes of the part, all of which are on disk now; on a refusal none of them is."""
    start, size, digest = upload.offset_bytes, 0, hashlib.sha256()
    file.seek(start)
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > PART_MAX_BYTES:
                raise part_too_large(size)
            if start + size > upload.size_bytes:
                raise UploadTooLarge(
                    f"The part goes beyond the {upload.size_bytes:,} bytes that were announced.",
                    where="the body",
                    limit=upload.size_bytes,
                )
            digest.update(chunk)
            file.write(chunk)
        if checksum is not None and digest.digest() != checksum:
            raise ChecksumMismatch(
                "This part was changed on its way. Send it again.", where="Upload-Checksum"
            )
    except BaseException:
        file.truncate(start)
        raise
    file.flush()
    os.fsync(file.fileno())
    return size


def part_too_large(size_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(
        f"A part has at most {PART_MAX_BYTES:,} bytes; this one has {size_bytes:,} or more.",
        where="the body",
        limit=PART_MAX_BYTES,
    )


def _another_file() -> ChecksumMismatch:
    return ChecksumMismatch(
        "What arrived is not the file that was announced; nothing of it was kept. Send it again.",
        where="the whole file",
        code="another_file",
    )


@contextmanager
def _locked(upload: ResumableUpload) -> Iterator[ResumableUpload]:
    """The row, locked in a transaction. Raises `UploadBusy` rather than wait for another part."""
    with transaction.atomic():
        try:
            row = ResumableUpload.objects.select_for_update(nowait=True).get(pk=upload.pk)
        except OperationalError as problem:
            if isinstance(problem.__cause__, LockNotAvailable):
                raise UploadBusy from problem
            raise
        yield row


def offset_of(upload: ResumableUpload) -> int:
    """Where the next part has to start: what both the row and the disk hold."""
    try:
        return min(upload.offset_bytes, path_of(upload).stat().st_size)
    except FileNotFoundError:
        return 0


def take_upload(
    *, owner: User, datanet: Datanet, public_id: UUID, digest: str = ""
) -> ResumableUpload:
    """A whole upload, locked until the transaction around ends, so that nobody takes it twice.

    Raises `DomainError` (unknown, for another Datanet, not whole) and `ChecksumMismatch` when its
    sender knows another digest.
    """
    rows = ResumableUpload.objects.select_for_update().filter(owner=owner, datanet=datanet)
    upload = rows.filter(public_id=public_id).first()
    if upload is None:
        raise DomainError("That upload is gone. Choose the file again.", where="upload")
    if not upload.complete:
        raise DomainError("That upload is not complete yet. Go on with it first.", where="upload")
    if digest and digest.lower() != upload.digest:
        raise _another_file()
    return upload


def discard_upload(*, upload: ResumableUpload) -> None:
    """Forget it; the bytes go when that is certain."""
    with _locked(upload) as row:
        path = path_of(row)
        row.delete()
        transaction.on_commit(lambda: path.unlink(missing_ok=True))


def expire_uploads() -> int:
    """Forget what nobody went on with, and files without a row; returns how many rows."""
    gone = 0
    for upload in ResumableUpload.objects.filter(expires_at__lt=Now())[:1_000]:
        try:
            discard_upload(upload=upload)
            gone += 1
        except (UploadBusy, ResumableUpload.DoesNotExist):
            continue
    _remove_orphans()
    return gone


def _remove_orphans() -> None:
    """Files that nobody has touched for long and no row speaks of: what a crash left behind."""
    long_ago = time.time() - settings.UPLOAD_EXPIRY_SECONDS
    known = {str(one) for one in ResumableUpload.objects.values_list("public_id", flat=True)}
    for path in _folder().iterdir():
        if path.name not in known and path.stat().st_mtime < long_ago:
            path.unlink(missing_ok=True)


def path_of(upload: ResumableUpload) -> Path:
    return _folder() / str(upload.public_id)


def _folder() -> Path:
    folder = Path(settings.MEDIA_ROOT) / "incoming" / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _expiry() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.UPLOAD_EXPIRY_SECONDS)
