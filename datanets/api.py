"""JSON for programs: make a Datanet, give rows, ask what became of them, cut versions.

Bodies are those of the forms; refusals are the site's error envelope with the same statuses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from datanets import selectors, services
from datanets.forms import ContributeForm, DatanetForm, VersionForm
from datanets.models import Contribution, Datanet
from datanets.provenance_forms import provenance_in
from datanets.serializers import ContributionSerializer, DatanetSerializer, VersionSerializer
from datanets.services import UploadTooLarge
from datanets.uploads import refuse_long_body, upload_on_disk
from openledger_site.accounts.authentication import HasScope
from openledger_site.accounts.models import User
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError, NotAllowed
from openledger_site.core.form_fields import require_valid
from openledger_site.core.idempotency import idempotent
from openledger_site.core.row_security import all_rows

ROWS_MAX = 100


def person_of(request: Request) -> User:
    """DRF's request stands in for Django's; the permission class has let only people through."""
    return signed_in_user(cast(HttpRequest, request))


def body_of(request: Request) -> Mapping[str, Any]:
    """The fields that were sent. Raises `DomainError` (422) for JSON that is not an object."""
    if not isinstance(request.data, Mapping):
        raise DomainError("Send an object with named fields.", where="the body", code="invalid")
    return request.data


def _valid(form: forms.BaseForm) -> dict[str, Any]:
    """The clean fields. Raises `DomainError` (422) naming the first field that is wrong."""
    require_valid(form)
    return form.cleaned_data


def limits_body(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Answer 413 from Content-Length, before session authentication reads the body for CSRF."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            refuse_long_body(request)
        except UploadTooLarge as refusal:
            return JsonResponse(refusal.envelope(), status=refusal.status)
        return view(request, *args, **kwargs)

    return wrapper


class HasDataScope(HasScope):
    """A key may come here with the scope `data`; a signed-in session may always."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        view.required_scope = "data"  # type: ignore[attr-defined] # what HasScope reads
        return super().has_permission(request, view)


# DRF answers 401 or 403 itself; the site's login redirect is for pages.
@extend_schema(request=DatanetSerializer, responses=DatanetSerializer(many=True))
@login_not_required
@idempotent
@api_view(["GET", "POST"])
@permission_classes([HasDataScope])
def datanet_collection(request: Request) -> HttpResponse:
    if request.method == "POST":
        data = _valid(DatanetForm(body_of(request)))
        datanet = services.create_datanet(owner=person_of(request), **data)
        return Response(DatanetSerializer(datanet).data, status=201)
    search = request.query_params.get("search", "")[:200]
    with all_rows("how many rows a Datanet has is on its card"):
        rows = list(selectors.datanet_list(request.user, search)[:ROWS_MAX])
    return Response(DatanetSerializer(rows, many=True).data)


@extend_schema(responses=DatanetSerializer)
@login_not_required
@api_view(["GET"])
@permission_classes([HasDataScope])
def datanet_item(request: Request, slug: str) -> HttpResponse:
    return Response(DatanetSerializer(selectors.datanet_for(request.user, slug)).data)


@extend_schema(
    request={"multipart/form-data": OpenApiTypes.OBJECT},
    responses=ContributionSerializer(many=True),
)
@login_not_required
@limits_body
@idempotent
@api_view(["GET", "POST"])
@permission_classes([HasDataScope])
def contribution_collection(request: Request, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for(request.user, slug)
    if request.method == "POST":
        contribution = contribute(request, datanet)
        status = 202 if contribution.state in Contribution.UNSENT else 201
        return Response(_kept_for_a_repeat(contribution), status=status)
    rows = selectors.contributions_of(request.user).filter(datanet=datanet).defer(None)[:ROWS_MAX]
    return Response(ContributionSerializer(rows, many=True).data)


def _kept_for_a_repeat(contribution: Contribution) -> dict[str, Any]:
    """An answer that is stored in the clear, and outlives a withdrawal: without first rows, and
    without columns, which a file without a header names by a row. Asking for the contribution tells
    them. Of a private file the digest is left out as well.
    """
    data = dict(ContributionSerializer(contribution).data)
    bad_rows = [{**bad, "column": ""} for bad in data["report"].get("bad_rows", [])]
    untold = {"needs_mapping": None, "ignored_columns": [], "bad_rows": bad_rows}
    data["report"] = {**data["report"], **untold}
    if contribution.datanet.visibility == Datanet.Visibility.PRIVATE:
        data["file_digest"] = ""
    return data


def contribute(request: Request, datanet: Datanet) -> Contribution:
    """What was sent, as a contribution of whoever sent it. Raises as `submit_contribution`."""
    if not selectors.rights_of(request.user, datanet).contribute:
        raise NotAllowed("Only members give rows here. Ask the owner to add you.")
    data = _valid(ContributeForm(body_of(request), request.FILES))
    contributor = person_of(request)
    with upload_on_disk(data, owner=contributor, datanet=datanet) as upload:
        contribution = services.submit_contribution(
            datanet=datanet,
            contributor=contributor,
            upload=upload,
            licence=data["licence"],
            agreed=data["agree"],
            title=data["title"],
            look_first=data["look_first"],
            provenance=provenance_in(data),
        )
    contribution.refresh_from_db()  # times that the database keeps
    return contribution


@extend_schema(responses=ContributionSerializer)
@login_not_required
@api_view(["GET"])
@permission_classes([HasDataScope])
def contribution_item(request: Request, contribution_id: UUID) -> HttpResponse:
    contribution = selectors.contribution_for(request.user, contribution_id)
    return Response(ContributionSerializer(contribution).data)


@extend_schema(request=OpenApiTypes.OBJECT, responses=ContributionSerializer)
@login_not_required
@idempotent
@api_view(["POST"])
@permission_classes([HasDataScope])
def contribution_decision(request: Request, contribution_id: UUID) -> HttpResponse:
    """`{"kinds": {"EMAIL_ADDRESS": {"action": "redact"}, …}}`, or `{}` to send what was looked at.

    An action is redact, keep (with a `reason`) or drop. Places are decided one by one on the page.
    """
    contribution = selectors.contribution_for_contributor(request.user, contribution_id)
    kinds = body_of(request).get("kinds", {})
    if not isinstance(kinds, Mapping) or not all(
        isinstance(one, Mapping) for one in kinds.values()
    ):
        raise DomainError("Name an action for each kind.", where="kinds", code="invalid")
    choices = {
        str(kind): services.Choice(str(one.get("action", "")), str(one.get("reason", "")))
        for kind, one in kinds.items()
    }
    decided = services.decide_contribution(
        contribution=contribution, actor=person_of(request), by_kind=choices, by_place={}
    )
    status = 202 if decided.state in Contribution.UNSENT else 200
    return Response(_kept_for_a_repeat(decided), status=status)


@extend_schema(request=VersionSerializer, responses=VersionSerializer(many=True))
@login_not_required
@idempotent
@api_view(["GET", "POST"])
@permission_classes([HasDataScope])
def version_collection(request: Request, slug: str) -> HttpResponse:
    if request.method == "POST":
        datanet = selectors.datanet_for_curator(request.user, slug)
        data = _valid(VersionForm(body_of(request)))
        version = services.cut_version(datanet=datanet, actor=person_of(request), **data)
        return Response(VersionSerializer(version).data, status=201)
    datanet = selectors.datanet_for(request.user, slug)
    rows = datanet.versions.select_related("datanet", "anchor__chain_transaction")[:ROWS_MAX]
    return Response(VersionSerializer(rows, many=True).data)
