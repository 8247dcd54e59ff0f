"""Resumable uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload): core, creation,
checksum, expiration, termination. A whole upload is given to a Datanet by its id, as a file is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from datanets import selectors, services
from datanets.api import HasDataScope
from datanets.models import ResumableUpload
from datanets.serializers import ResumableUploadSerializer
from datanets.services.receive_upload import PART_MAX_BYTES, part_too_large
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError, NotAllowed

VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,expiration,termination"
PART_TYPE = "application/offset+octet-stream"
READ_BYTES = 1 << 20


class WrongProtocol(DomainError):
    status = 412
    code = "tus_version"
    message = f"Send the header Tus-Resumable: {VERSION}."


class WrongType(DomainError):
    status = 415
    code = "content_type"
    message = f"Send a part as {PART_TYPE}."


class BadHeader(DomainError):
    status = 400
    code = "bad_header"


@extend_schema(request=None, responses=ResumableUploadSerializer(many=True))
@login_not_required
@api_view(["GET", "POST", "OPTIONS"])
@permission_classes([HasDataScope])
def upload_collection(request: Request, slug: str) -> HttpResponse:
    """POST begins an upload of `Upload-Length` bytes; GET lists one's own unfinished ones."""
    datanet = selectors.datanet_for(request.user, slug)
    if request.method == "OPTIONS":
        return _capabilities()
    if request.method == "GET":
        rows = selectors.uploads_of(request.user, datanet)
        return _tus(Response(ResumableUploadSerializer(rows, many=True).data))
    if not selectors.rights_of(request.user, datanet).contribute:
        raise NotAllowed("Only members give rows here. Ask the owner to add you.")
    _require_tus(request)
    metadata = _metadata(request)
    upload = services.begin_upload(
        datanet=datanet,
        owner=signed_in_user(cast(HttpRequest, request)),
        filename=metadata.get("filename", ""),
        size_bytes=_number(request, "Upload-Length"),
        expected_digest=_digest(metadata.get("sha256", "")),
    )
    response = _state(upload, status=201)
    response["Location"] = reverse("datanets:api-upload-item", args=[upload.public_id])
    return response


@extend_schema(request={PART_TYPE: OpenApiTypes.BINARY}, responses={204: None})
@login_not_required
@api_view(["HEAD", "PATCH", "DELETE", "OPTIONS"])
@permission_classes([HasDataScope])
def upload_item(request: Request, upload_id: UUID) -> HttpResponse:
    """HEAD tells the offset, PATCH adds a part there, DELETE forgets the upload."""
    upload = selectors.upload_for(request.user, upload_id)
    if request.method == "OPTIONS":
        return _capabilities()
    _require_tus(request)
    if request.method == "HEAD":
        return _state(upload, status=200)
    if request.method == "DELETE":
        services.discard_upload(upload=upload)
        return _tus(Response(status=204))
    return _append(request, upload)


def _append(request: Request, upload: ResumableUpload) -> HttpResponse:
    if request.content_type.partition(";")[0].strip() != PART_TYPE:
        raise WrongType(where="Content-Type")
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if announced.isdecimal() and int(announced) > PART_MAX_BYTES:
        raise part_too_large(int(announced))
    try:
        upload = services.append_part(
            upload=upload,
            offset_bytes=_number(request, "Upload-Offset"),
            chunks=_chunks(request),
            checksum=_checksum(request),
        )
    except services.WrongOffset as refusal:
        response = Response(refusal.envelope(), status=refusal.status)
        response["Upload-Offset"] = str(refusal.offset_bytes)
        return _tus(response)
    return _state(upload, status=204)


def _chunks(request: Request) -> Iterator[bytes]:
    """The body as it lies on disk; `request.data` would hold it in memory."""
    while chunk := request._request.read(READ_BYTES):
        yield chunk


def _require_tus(request: Request) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise WrongProtocol(where="Tus-Resumable")


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadHeader(f"{name} must be a number of bytes.", where=name)
    return int(text)


def _metadata(request: Request) -> dict[str, str]:
    """`Upload-Metadata`: pairs of a name and its value in Base64, parted by commas."""
    found = {}
    for pair in filter(None, request.headers.get("Upload-Metadata", "").split(",")):
        name, _, value = pair.strip().partition(" ")
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadHeader(
                "Write each value in Base64 of UTF-8 text.", where="Upload-Metadata"
            ) from None
        found[name] = text.replace("\x00", "?")
    return found


def _digest(text: str) -> str:
    """64 hex digits or nothing. Raises `BadHeader`."""
    plain = text.lower()
    if plain and (len(plain) != 64 or set(plain) - set("0123456789abcdef")):
        raise BadHeader("sha256 must be 64 hexadecimal digits.", where="Upload-Metadata")
    return plain


def _checksum(request: Request) -> bytes | None:
    text = request.headers.get("Upload-Checksum", "")
    if not text:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm != "sha256":
        raise BadHeader("Only sha256 is known.", where="Upload-Checksum")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadHeader("Write the checksum in Base64.", where="Upload-Checksum") from None


def _tus(response: Response) -> Response:
    response["Tus-Resumable"] = VERSION
    return response


def _state(upload: ResumableUpload, *, status: int) -> Response:
    response = _tus(Response(status=status))
    response["Cache-Control"] = "no-store"
    response["Upload-Offset"] = str(services.offset_of(upload))
    response["Upload-Length"] = str(upload.size_bytes)
    response["Upload-Expires"] = http_date(upload.expires_at.timestamp())
    if upload.digest:
        response["Upload-Digest"] = upload.digest
    return response


def _capabilities() -> Response:
    response = _tus(Response(status=204))
    response["Tus-Version"] = VERSION
    response["Tus-Extension"] = EXTENSIONS
    response["Tus-Max-Size"] = str(settings.UPLOAD_RESUMABLE_MAX_BYTES)
    response["Tus-Checksum-Algorithm"] = "sha256"
    return response
