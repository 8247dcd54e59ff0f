"""Bring what a request carries onto disk as one complete file, within the published limit."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from datanets.models import Datanet
from datanets.services import Upload, discard_upload, refuse_oversized, take_upload
from datanets.services.receive_upload import path_of
from openledger_site.accounts.models import User

# Room for the other fields and the multipart boundaries around a file of the largest size.
FORM_OVERHEAD_BYTES = 4 << 20


def limits_body(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 413 from Content-Length alone, before the CSRF check reads the body.

    The check itself still runs, inside: Django's own pattern for views that prepare an upload.
    """
    protected = csrf_protect(view)

    @csrf_exempt
    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        refuse_long_body(request)
        return protected(request, *args, **kwargs)

    return wrapper


def refuse_long_body(request: HttpRequest) -> None:
    """Raises `UploadTooLarge` when the request says it is longer than an upload may be."""
    announced = request.META.get("CONTENT_LENGTH") or "0"
    length = int(announced) if announced.isdecimal() else 0
    if length > settings.UPLOAD_SIZE_MAX_BYTES + FORM_OVERHEAD_BYTES:
        refuse_oversized(length)


@contextmanager
def upload_on_disk(data: Mapping[str, Any], *, owner: User, datanet: Datanet) -> Iterator[Upload]:
    """The file, the pasted text, or the one row of a valid `ContributeForm`, as a file.

    Django has put a large file on disk already; that one is used where it lies. So is one that came
    in parts: it is theirs until what is done with it here has succeeded. Call in a transaction.
    """
    if data.get("upload"):
        whole = take_upload(
            owner=owner,
            datanet=datanet,
            public_id=data["upload"],
            digest=data.get("upload_digest", ""),
        )
        yield Upload(path_of(whole), whole.filename, whole.digest)
        discard_upload(upload=whole)
        return
    file = data.get("file")
    if file is not None and hasattr(file, "temporary_file_path"):
        yield Upload(Path(file.temporary_file_path()), file.name)
        return
    with tempfile.NamedTemporaryFile(prefix="openledger-upload-") as copy:
        if file is not None:
            refuse_oversized(file.size)
            for chunk in file.chunks():
                copy.write(chunk)
            filename = file.name
        else:
            filename, content = _typed(data)
            copy.write(content)
        copy.flush()
        yield Upload(Path(copy.name), filename)


def _typed(data: Mapping[str, Any]) -> tuple[str, bytes]:
    """Name and bytes of rows that came through the form; a lone surrogate becomes `?`."""
    if data.get("question"):
        row = {"instruction": data["question"], "response": data["answer"]}
        return "row.jsonl", json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
    pasted = data["paste"].replace("\r\n", "\n")
    return _paste_name(pasted), pasted.encode("utf-8", "replace")


def _paste_name(pasted: str) -> str:
    """A guess that the sandbox checks: JSON by its first character, a table by its first line."""
    text = pasted.lstrip()
    first, _, rest = text.partition("\n")
    if text.startswith("["):
        return "paste.json"
    if text.startswith("{"):
        return "paste.jsonl"
    if rest.strip() and "\t" in first:
        return "paste.tsv"
    return "paste.csv" if rest.strip() and ("," in first or ";" in first) else "paste.txt"
