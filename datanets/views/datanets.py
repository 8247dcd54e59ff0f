"""The list of Datanets, a Datanet's page, its members and its access requests."""

from __future__ import annotations

import uuid
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from datanets import selectors, services
from datanets.forms import (
    AccessRequestForm,
    DatanetForm,
    GrantDecisionForm,
    MemberForm,
    VersionForm,
)
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent

PAGE_ROWS = 20


@login_not_required
@require_GET
def datanet_list(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("search", "").strip()[:200]
    rows = selectors.datanet_list(request.user, search)
    page = Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page"))
    return render(request, "datanets/datanet_list.html", {"page": page, "search": search})


@require_http_methods(["GET", "POST"])
@idempotent
def datanet_create(request: HttpRequest) -> HttpResponse:
    form = DatanetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        datanet = services.create_datanet(owner=signed_in_user(request), **form.cleaned_data)
        return redirect(datanet)
    status = 422 if form.is_bound else 200
    context = {"form": form, "idempotency_key": uuid.uuid4()}
    return render(request, "datanets/datanet_form.html", context, status=status)


@login_not_required
@require_GET
def datanet_detail(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for(request.user, slug)
    rights = selectors.rights_of(request.user, datanet)
    search = request.GET.get("search", "").strip()[:200]
    rows = selectors.approved_records(datanet, search if rights.read else "")
    page = Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page"))
    context = {
        "datanet": datanet,
        "rights": rights,
        "page": page,
        "search": search,
        "versions": datanet.versions.select_related("anchor__chain_transaction")[:10],
        "contributors": selectors.contributors_of(datanet),
        "version_form": VersionForm(),
        "access_form": AccessRequestForm(),
        "idempotency_key": uuid.uuid4(),
        "queue_length": selectors.review_queue(request.user, datanet).count()
        if rights.review
        else 0,
    }
    return render(request, "datanets/datanet_detail.html", context)


@require_http_methods(["GET", "POST"])
def member_list(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = MemberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        member = services.set_member(
            datanet=datanet, actor=signed_in_user(request), **form.cleaned_data
        )
        messages.success(request, f"{member.user.name} is now {member.role}.")
        return redirect("datanets:member-list", slug)
    context = {
        "datanet": datanet,
        "form": form,
        "members": datanet.memberships.select_related("user"),
        "grants": datanet.grants.select_related("user"),
    }
    status = 422 if form.is_bound else 200
    return render(request, "datanets/member_list.html", context, status=status)


@require_POST
def member_remove(request: HttpRequest, slug: str, membership_id: int) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    services.remove_member(
        datanet=datanet, actor=signed_in_user(request), membership_id=membership_id
    )
    return redirect("datanets:member-list", slug)


@require_POST
def access_request(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for(request.user, slug)
    form = AccessRequestForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a right and say what it is for.")
        return redirect(datanet)
    services.request_access(datanet=datanet, user=signed_in_user(request), **form.cleaned_data)
    messages.success(request, "The owner has your request.")
    return redirect(datanet)


@require_POST
def grant_decide(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    grant = selectors.grant_for_owner(request.user, grant_id)
    form = GrantDecisionForm(request.POST)
    if form.is_valid():
        services.decide_grant(
            grant=grant,
            actor=signed_in_user(request),
            granted=form.cleaned_data["decision"] == "grant",
            answer=form.cleaned_data["answer"],
            days=form.cleaned_data["days"] or 365,
        )
    else:
        messages.error(request, "A grant lasts 1 to 3,650 days.")
    return redirect("datanets:member-list", grant.datanet.slug)
