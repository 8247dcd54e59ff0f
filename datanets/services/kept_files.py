"""The files that contributors sent: sealed where not everybody may read the rows.

Each such Datanet has a key, wrapped by the operator's (`settings.DATA_KEYS`). The last file that is
destroyed takes the key with it, so that no copy of a file, in a backup or on a lent disk, opens
again. On disk a file is named by its keyed digest: the plain one would confirm a guess of the file
(0050). See docs/decisions/0027 for what is not sealed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now

from datanets.models import Contribution, DataKey, Datanet
from datanets.models.data_key import wrapping_keys
from datanets.models.sealed import RowsUnreadable
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, Unavailable
from openledger_site.core.row_security import all_rows
from openledger_site.core.sealing import HashKeyer, SealBrokenError, seal, unseal
from openledger_site.core.storage import (
    adopt_file,
    blob_name,
    blob_path,
    digest_of,
    store_file,
)

CHUNK_BYTES = 1 << 20


class FileUnreadable(Unavailable):
    code = "stored_file_unreadable"
    message = (
        "The stored file cannot be opened: it was changed, or its key is gone. Withdraw this "
        "contribution and send the file again; the operator can read more in the log."
    )


def keep_file(contribution: Contribution, path: Path, digest: str = "") -> None:
    """Put a file into the store, sealed where its Datanet is not public; sets digest and key.

    `digest` is given for a file of ours that never changes: a public one is not copied then.
    """
    if contribution.datanet.visibility != Datanet.Visibility.PUBLIC:
        _seal_into_store(contribution, path, digest or digest_of(path))
    elif digest:
        adopt_file(path, digest)
        contribution.file_digest = digest
    else:
        size_bytes = path.stat().st_size
        contribution.file_digest, _ = store_file(_chunks(path), size_max_bytes=size_bytes)


def _seal_into_store(contribution: Contribution, path: Path, digest: str) -> None:
    key = DataKey.of(contribution.datanet, DataKey.Use.FILES)
    contribution.file_digest, contribution.file_key = digest, key
    target = sealed_path(key, digest)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as out:
            seal(_chunks(path), out, _unwrapped(key), _name(key, digest))
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def hold_key(contribution: Contribution) -> None:
    """In the transaction that stores the contribution: nobody may destroy its key meanwhile.

    Raises `Conflict` where the last other file went, and the key with it, while this one came.
    """
    key = contribution.file_key
    if key is not None and not DataKey.objects.select_for_update().filter(pk=key.pk).exists():
        raise Conflict("The files of this Datanet were destroyed a moment ago. Send it again.")


@contextmanager
def opened_file(contribution: Contribution) -> Iterator[Path]:
    """Where the plain file can be read inside the block. Raises `FileUnreadable`.

    A sealed one is opened into a file without a name, which is gone with this process however
    it ends.
    """
    if contribution.file_key is None:
        yield blob_path(contribution.file_digest)
        return
    with tempfile.TemporaryFile() as plain:
        digest = hashlib.sha256()
        try:
            path = _stored_path(contribution.file_key, contribution.file_digest)
            with path.open("rb") as sealed:
                name = _name(contribution.file_key, contribution.file_digest)
                for chunk in unseal(sealed, _unwrapped(contribution.file_key), name):
                    digest.update(chunk)
                    plain.write(chunk)
        except (OSError, SealBrokenError) as problem:
            raise FileUnreadable from problem
        if digest.hexdigest() != contribution.file_digest:
            raise FileUnreadable
        plain.flush()
        yield Path(f"/proc/self/fd/{plain.fileno()}")


@all_rows("a file or key goes only when nobody else's contribution needs it")
def discard_file(contribution: Contribution) -> None:
    """Delete the stored file on commit, unless another contribution keeps the same bytes; and the
    key with the last file that it opens. Call in a transaction.
    """
    digest, key = _digest_if_readable(contribution), contribution.file_key
    if key is not None:
        key = DataKey.objects.select_for_update().get(pk=key.pk)  # before anybody counts its files
    Contribution.objects.filter(pk=contribution.pk).update(file_kept=False, file_key=None)
    contribution.file_kept, contribution.file_key = False, None
    if key is None:
        transaction.on_commit(lambda: _delete_plain(digest))
        return
    paths = _paths(key, digest)
    others = Contribution.objects.filter(file_key=key).values_list("file_digest", flat=True)
    is_last = not others.exists()
    if is_last:
        record_audit("data_key.destroyed", actor="store", subject=f"data_key:{key.public_id}")
        key.delete()
    # Opened by reading: a private Datanet's cannot be asked for by what they are.
    if digest and (is_last or digest not in others):
        for path in paths:
            transaction.on_commit(partial(path.unlink, missing_ok=True))


def _digest_if_readable(contribution: Contribution) -> str:
    """Empty where the operator's key is not given: rows are taken back all the same, and nobody can
    open the file.
    """
    try:
        return contribution.file_digest
    except RowsUnreadable:
        return ""


def _paths(key: DataKey, digest: str) -> list[Path]:
    """Everywhere it may lie: the same bytes sent before and after `rename_sealed_files` lie twice.
    Without the operator's key the keyed name is not known.
    """
    try:
        return [_old_path(key, digest), sealed_path(key, digest)]
    except FileUnreadable:
        return [_old_path(key, digest)]


@all_rows("a file goes only when nobody else's contribution keeps it")
def _delete_plain(digest: str) -> None:
    plain = Contribution.objects.filter(file_kept=True, file_key=None)
    kept = plain.filter(file_digest=digest).exists()
    # Of a Datanet that became private; there are none once `seal_plain_files` has been here.
    closed = plain.filter(datanet__visibility=Datanet.Visibility.PRIVATE)
    if not kept and digest not in closed.values_list("file_digest", flat=True):
        default_storage.delete(blob_name(digest))


def rotate_data_keys() -> int:
    """Wrap every data key by the first of the operator's keys; files stay as they are.

    Returns how many were wrapped anew. Raises `FileUnreadable` for one whose key is not given.
    """
    current, rotated = next(iter(wrapping_keys())), 0
    for pk in DataKey.objects.exclude(wrapped_by=current).values_list("pk", flat=True):
        with transaction.atomic():
            key = DataKey.objects.select_for_update().get(pk=pk)
            key.wrap(_unwrapped(key))
            key.rotated_at = Now()
            key.save(update_fields=["wrapped", "wrapped_by", "rotated_at"])
            record_audit("data_key.rotated", actor="store", subject=f"data_key:{key.public_id}")
        rotated += 1
    return rotated


def seal_plain_files() -> int:
    """Seal what was kept in the clear: before there were keys, or while a Datanet was public."""
    rows = Contribution.objects.filter(file_kept=True, file_key=None).exclude(
        datanet__visibility=Datanet.Visibility.PUBLIC
    )
    sealed = 0
    for pk in rows.values_list("pk", flat=True):
        with transaction.atomic():
            row = Contribution.objects.select_for_update(of=("self",)).get(pk=pk)
            path, digest = blob_path(row.file_digest), row.file_digest
            if not row.file_kept or not path.is_file():
                continue
            _seal_into_store(row, path, digest)
            hold_key(row)
            row.save(update_fields=["file_key"])
        _delete_plain(digest)
        sealed += 1
    return sealed


def rename_sealed_files() -> int:
    """Give files that were sealed under their plain digest their keyed one; returns how many."""
    renamed = 0
    for key in DataKey.objects.filter(use=DataKey.Use.FILES):
        for digest in set(key.contributions.values_list("file_digest", flat=True)):
            old = _old_path(key, digest)
            if old.is_file():
                old.replace(sealed_path(key, digest))
                renamed += 1
    return renamed


def sealed_path(key: DataKey, digest: str) -> Path:
    """Where a sealed file lies; nobody who has the disk alone can say which file it is."""
    named = HashKeyer(_unwrapped(key)).hex(digest, "file name")
    return Path(settings.MEDIA_ROOT) / "sealed" / str(key.public_id) / named


def _old_path(key: DataKey, digest: str) -> Path:
    return Path(settings.MEDIA_ROOT) / "sealed" / str(key.public_id) / digest


def _stored_path(key: DataKey, digest: str) -> Path:
    """Where it lies: in the old place until `rename_sealed_files` has been here."""
    old = _old_path(key, digest)
    return old if old.is_file() else sealed_path(key, digest)


def _name(key: DataKey, digest: str) -> bytes:
    return key.public_id.bytes + digest.encode()


def _unwrapped(key: DataKey) -> bytes:
    try:
        return key.unwrapped()
    except SealBrokenError as problem:
        raise FileUnreadable from problem


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
