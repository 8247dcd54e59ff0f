"""Files named by the SHA-256 of what they hold: written once, never changed, safe to share."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, default_storage

# Written for Django's own switch; private in name, so the stubs leave it out.
_MODULE_IMPORTS = ManifestStaticFilesStorage._js_module_import_aggregation_patterns[1]  # type: ignore[attr-defined] # see above


class ModuleManifestStaticFilesStorage(ManifestStaticFilesStorage):
    """Hash the ES modules that `app.js` imports too.

    Only under `js/`: Django's own switch would also read the scripts of installed packages, where
    a mere comment such as `import "package/name"` stops collectstatic.
    """

    patterns = (
        *ManifestStaticFilesStorage.patterns,
        ("js/*.js", _MODULE_IMPORTS),
    )


class ContentAddressedStorage(FileSystemStorage):
    """A folder whose files appear whole or not at all: temp name, fsync, rename."""

    def _save(self, name: str, content: File[bytes]) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with temporary.open("wb") as out:
                for chunk in content.chunks():
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # the name is the content's digest: writing it again changes nothing


def store_file(chunks: Iterable[bytes], *, size_max_bytes: int) -> tuple[str, int]:
    """Write an upload to the store; return its digest and its size in bytes.

    Raises `ValueError` when more than `size_max_bytes` come, leaving nothing behind.
    """
    folder = Path(settings.MEDIA_ROOT) / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    temporary, digest, size = folder / secrets.token_hex(16), hashlib.sha256(), 0
    try:
        with temporary.open("wb") as out:
            for chunk in chunks:
                size += len(chunk)
                if size > size_max_bytes:
                    raise ValueError("too large")
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        name = blob_name(digest.hexdigest())
        if not default_storage.exists(name):
            with temporary.open("rb") as content:
                default_storage.save(name, File(content))
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest(), size


def adopt_file(path: Path, digest: str) -> None:
    """Put a complete file of ours, fsynced and never written again, into the store by its digest.

    A second name for the same bytes where the file system allows it: 5 GB cost nothing then.
    """
    name = blob_name(digest)
    if default_storage.exists(name):
        return
    target = blob_path(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except FileExistsError:
        return
    except OSError:
        with path.open("rb") as content:
            default_storage.save(name, File(content))


def digest_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def store_bytes(content: bytes) -> str:
    """Write `content` to the store; return its digest."""
    return store_file([content], size_max_bytes=len(content))[0]


def blob_name(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def blob_path(digest: str) -> Path:
    """Where the local store keeps the file with this digest."""
    return Path(default_storage.path(blob_name(digest)))
