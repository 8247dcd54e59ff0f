"""/v1/files in the form of OpenAI's files API: each file is a contribution to a Datanet.

Scripts that upload for fine-tuning send `file` and `purpose=fine-tune`; here they add which Datanet
(`datanet`), the `licence` and that they `agree`, by the client's `extra_body`. Permission, limits,
checks and the questions about provenance are those of every other way in.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from datanets import selectors, services
from datanets.api import HasDataScope, body_of, contribute, limits_body, person_of
from datanets.models import Contribution
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import idempotent

PURPOSE = "fine-tune"
PAGE_FILES_MAX = 100
_STATUS = {"received": "uploaded", "parsing": "uploaded", "rejected": "error"}


@extend_schema(operation_id="v1_files_list", methods=["GET"], responses=OpenApiTypes.OBJECT)
@extend_schema(
    methods=["POST"],
    request={"multipart/form-data": OpenApiTypes.OBJECT},
    responses=OpenApiTypes.OBJECT,
)
@login_not_required
@limits_body
@idempotent
@api_view(["GET", "POST"])
@permission_classes([HasDataScope])
def file_collection(request: Request) -> HttpResponse:
    if request.method == "POST":
        return Response(file_object(_upload(request)))
    rows = selectors.files_of(request.user, after=_id(request.query_params.get("after", "")))
    limit = _limit(request.query_params.get("limit", ""))
    found = list(rows[: limit + 1])
    data = [file_object(one) for one in found[:limit]]
    return Response({
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    })  # fmt: skip


@extend_schema(responses=OpenApiTypes.OBJECT)
@login_not_required
@idempotent
@api_view(["GET", "DELETE"])
@permission_classes([HasDataScope])
def file_item(request: Request, file_id: str) -> HttpResponse:
    public_id = _id(file_id)
    if public_id is None:
        raise Http404
    contribution = selectors.contribution_for_contributor(request.user, public_id)
    if contribution.state == Contribution.State.WITHDRAWN:
        raise Http404
    if request.method == "DELETE":
        services.withdraw_contribution(contribution=contribution, actor=person_of(request))
        return Response({"id": file_id, "object": "file", "deleted": True})
    return Response(file_object(contribution))


def _upload(request: Request) -> Contribution:
    fields = body_of(request)
    if fields.get("purpose") != PURPOSE:
        raise DomainError(f"Files are taken for the purpose “{PURPOSE}” only.", where="purpose")
    if not fields.get("datanet"):
        raise DomainError("Name the Datanet that gets the rows.", where="datanet")
    return contribute(request, selectors.datanet_for(request.user, str(fields["datanet"])))


def file_object(contribution: Contribution) -> dict[str, Any]:
    """OpenAI's file object, and which contribution to which Datanet it is."""
    state = contribution.state
    rejection = (contribution.report or {}).get("rejection") or {}
    return {
        "id": f"file-{contribution.public_id}",
        "object": "file",
        "bytes": contribution.size_bytes,
        "created_at": int(contribution.created_at.timestamp()),
        "expires_at": None,
        "filename": contribution.filename,
        "purpose": PURPOSE,
        "status": _STATUS.get(state, "processed"),
        "status_details": rejection.get("message"),
        "datanet": contribution.datanet.slug,
        "contribution": {"id": str(contribution.public_id), "state": state,
                         "url": contribution.get_absolute_url()},
    }  # fmt: skip


def _id(text: str) -> UUID | None:
    try:
        return UUID(text.removeprefix("file-")) if text else None
    except ValueError:
        raise Http404 from None


def _limit(text: str) -> int:
    asked = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else PAGE_FILES_MAX
    return min(PAGE_FILES_MAX, max(1, asked))
