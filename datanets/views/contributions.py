"""Give rows, follow what became of them, take them back."""

from __future__ import annotations

import uuid
from itertools import chain
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from datanets import selectors, services
from datanets.checks.personal_data import NOT_CHECKED
from datanets.forms import ContributeForm, DecisionForm, MappingForm, named_flags
from datanets.models import Contribution, Datanet
from datanets.parsing import WORKING_FORMATS
from datanets.provenance import answers_in_words
from datanets.selectors.waiting import what_waits_for
from datanets.services import Choice, UploadRejected, UploadTooLarge
from datanets.uploads import limits_body, upload_on_disk
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.csv_export import csv_response
from openledger_site.core.errors import Conflict, DomainError, NotAllowed
from openledger_site.core.form_fields import first_mistake
from openledger_site.core.idempotency import idempotent
from openledger_site.core.middleware import wants_json

PAGE_ROWS = 20
# A smaller file goes with the form: sending it again costs a second.
IN_PARTS_ABOVE_BYTES = 4 << 20


@require_http_methods(["GET", "POST"])
@limits_body
@idempotent
def contribution_create(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for(request.user, slug)
    if not selectors.rights_of(request.user, datanet).contribute:
        services.refuse_unkept(datanet)
        raise NotAllowed("Only members give rows here. Ask the owner to add you.")
    if request.method == "GET":
        known = selectors.last_provenance_of(request.user)
        form = ContributeForm(initial={"licence": datanet.licence, **known})
        return _contribute_page(request, datanet, form, 200)
    form = ContributeForm(request.POST, request.FILES)
    if not form.is_valid():
        if wants_json(request):
            raise first_mistake(form)
        return _contribute_page(request, datanet, form, 422)
    try:
        return redirect(_submit(request, datanet, form))
    except (UploadRejected, UploadTooLarge) as refusal:
        if wants_json(request):
            raise
        form.add_error("paste" if form.cleaned_data["paste"] else "file", refusal.message)
        return _contribute_page(request, datanet, form, refusal.status, refusal)


def _submit(request: HttpRequest, datanet: Datanet, form: ContributeForm) -> Contribution:
    data = form.cleaned_data
    contributor = signed_in_user(request)
    with upload_on_disk(data, owner=contributor, datanet=datanet) as upload:
        return services.submit_contribution(
            datanet=datanet,
            contributor=contributor,
            upload=upload,
            licence=data["licence"],
            agreed=data["agree"],
            # Not the question itself: a title is shown before personal data is decided about.
            title=data["title"] or ("One row" if data["question"] else ""),
            look_first=data["look_first"],
            provenance=form.provenance(),
        )


def _contribute_page(
    request: HttpRequest,
    datanet: Datanet,
    form: ContributeForm,
    status: int,
    refusal: UploadRejected | UploadTooLarge | None = None,
) -> HttpResponse:
    context = {
        "datanet": datanet,
        "form": form,
        "refusal": refusal,
        "formats": WORKING_FORMATS,
        "uploads": selectors.uploads_of(request.user, datanet),
        "resumable_max_bytes": settings.UPLOAD_RESUMABLE_MAX_BYTES,
        "request_max_bytes": settings.UPLOAD_SIZE_MAX_BYTES,
        "quota_bytes": settings.UPLOAD_QUOTA_BYTES,
        "in_parts_above_bytes": IN_PARTS_ABOVE_BYTES,
        "chosen_upload": getattr(form, "cleaned_data", {}).get("upload"),
        "not_checked": NOT_CHECKED,
        "idempotency_key": uuid.uuid4(),
    }
    return render(request, "datanets/contribution_form.html", context, status=status)


@require_GET
def contribution_list(request: HttpRequest) -> HttpResponse:
    rows = selectors.contributions_of(request.user)
    page = Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page"))
    return render(request, "datanets/contribution_list.html", {"page": page})


@require_GET
def waiting(request: HttpRequest) -> HttpResponse:
    """A part of the front page."""
    return render(request, "datanets/_waiting.html", {"waiting": what_waits_for(request.user)})


@require_GET
def contribution_detail(request: HttpRequest, contribution_id: UUID) -> HttpResponse:
    contribution = selectors.contribution_for(request.user, contribution_id)
    if contribution.contributor_id != request.user.pk:
        services.note_reading(reader=request.user, datanet=contribution.datanet)
    return _contribution_page(request, contribution)


def _contribution_page(
    request: HttpRequest,
    contribution: Contribution,
    decision_form: DecisionForm | None = None,
    status: int = 200,
) -> HttpResponse:
    wanted = contribution.report.get("needs_mapping") or {}
    mine = contribution.contributor_id == request.user.pk
    rows = selectors.with_reviews_shown(
        request.user, contribution.records.order_by("position"), contribution.datanet
    )
    context = {
        "contribution": contribution,
        "datanet": contribution.datanet,
        "mine": mine,
        "is_sent": contribution.state not in Contribution.UNSENT,
        "page": Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page")),
        "mapping_form": MappingForm(columns=wanted.get("columns", [])),
        "sample": wanted.get("sample", []),
        "columns": wanted.get("columns", []),
        "provenance": answers_in_words(contribution),
        "checks": contribution.report.get("checks"),
        "flags": named_flags(contribution.report),
        "reviews": not mine,
        "not_checked": NOT_CHECKED,
    }
    if mine and contribution.state == Contribution.State.NEEDS_DECISION:
        context["decision_form"] = decision_form or _decision_form(contribution)
    return render(request, "datanets/contribution_detail.html", context, status=status)


def _decision_form(contribution: Contribution, data: QueryDict | None = None) -> DecisionForm:
    kinds, places = selectors.personal_data_of(contribution)
    return DecisionForm(data, kinds=kinds, places=places)


@require_POST
@idempotent
def contribution_decide(request: HttpRequest, contribution_id: UUID) -> HttpResponse:
    contribution = selectors.contribution_for_contributor(request.user, contribution_id)
    form = _decision_form(contribution, request.POST)
    try:
        if form.is_valid():
            services.decide_contribution(
                contribution=contribution,
                actor=signed_in_user(request),
                by_kind={kind: Choice(*how) for kind, how in form.chosen("kind-").items()},
                by_place={int(pk): Choice(*how) for pk, how in form.chosen("place-").items()},
            )
            return redirect(contribution)
    except Conflict:
        raise
    except DomainError as undecided:
        if wants_json(request):
            raise
        form.add_error(None, undecided.message)
    return _contribution_page(request, contribution, form, status=422)


@require_GET
def contribution_progress(request: HttpRequest, contribution_id: UUID) -> HttpResponse:
    contribution = selectors.contribution_for(request.user, contribution_id)
    context = {"contribution": contribution}
    return render(request, "datanets/contribution_detail.html#progress", context)


@require_POST
@idempotent
def contribution_map(request: HttpRequest, contribution_id: UUID) -> HttpResponse:
    contribution = selectors.contribution_for_contributor(request.user, contribution_id)
    wanted = contribution.report.get("needs_mapping") or {}
    form = MappingForm(request.POST, columns=wanted.get("columns", []))
    if not form.is_valid():
        for problem in form.non_field_errors() or ["Choose from the columns of the file."]:
            messages.error(request, str(problem))
        return redirect(contribution)
    services.choose_mapping(
        contribution=contribution, actor=signed_in_user(request), mapping=form.mapping()
    )
    return redirect(contribution)


@require_POST
@idempotent
def contribution_withdraw(request: HttpRequest, contribution_id: UUID) -> HttpResponse:
    contribution = selectors.contribution_for_contributor(request.user, contribution_id)
    services.withdraw_contribution(contribution=contribution, actor=signed_in_user(request))
    messages.success(request, "Withdrawn: the text is destroyed and later versions leave it out.")
    return redirect(contribution)


@require_GET
def contribution_bad_rows(request: HttpRequest, contribution_id: UUID) -> HttpResponseBase:
    """The rows that were left out, as a table to download."""
    contribution = selectors.contribution_for(request.user, contribution_id)
    names = ("entry", "row", "column", "cause", "remedy")
    found = contribution.report.get("bad_rows", [])
    rows = (tuple(str(bad[name]) for name in names) for bad in found)
    return csv_response(chain([names], rows), "rows-left-out.csv")
