"""The list of Datanets and a Datanet's page."""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from datanets import selectors, services
from datanets.completeness import answers_of
from datanets.croissant import citation_of
from datanets.forms import DatanetForm, VersionForm
from datanets.models import AccessGrant, Datanet
from datanets.provenance import provenance_shares
from datanets.viewer import contributor_shares, licence_shares
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent
from openledger_site.core.row_security import all_rows

PAGE_ROWS = 20


@login_not_required
@require_GET
def datanet_list(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("search", "").strip()[:200]
    rows = selectors.datanet_list(request.user, search)
    page = Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page"))
    with all_rows("how many rows a Datanet has is on its card"):
        page.object_list = list(page.object_list)
    context = {"page": page, "search": search, "counted_max": selectors.COUNTED_MAX}
    return render(request, "datanets/datanet_list.html", context)


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
    samples = selectors.sample_rows(datanet, may_read=rights.read)
    if rights.read and samples:
        services.note_reading(reader=request.user, datanet=datanet)
    counts, newest = selectors.counts_shown(datanet)
    card = selectors.card_of(datanet)
    site = request.build_absolute_uri("/").rstrip("/")
    context = {
        "datanet": datanet,
        "rights": rights,
        "samples": samples,
        "versions": datanet.versions.select_related("anchor__chain_transaction")[:10],
        "newest": newest,
        "card": card,
        "answers": answers_of(card),
        "citation": citation_of(newest, site) if newest else None,
        "contributors": contributor_shares(counts, datanet, reads=rights.read),
        "licences": licence_shares(counts, datanet, reads=rights.read),
        **provenance_shares(counts),
        "completeness": selectors.completeness_of(datanet, card, counts) if rights.curate else None,
        "version_form": VersionForm(),
        "requests_waiting": selectors.waiting_requests(datanet) if rights.curate else 0,
        "grants": _own_grants(request, datanet, rights.role),
        "idempotency_key": uuid.uuid4(),
        "queue_length": selectors.so_many(selectors.review_queue(request.user, datanet))
        if rights.review
        else "0",
    }
    return render(request, "datanets/datanet_detail.html", context)


def _own_grants(request: HttpRequest, datanet: Datanet, role: str) -> list[AccessGrant]:
    """What became of this person's requests; members have a role instead."""
    if role or not request.user.is_authenticated:
        return []
    return list(selectors.grants_of(request.user, datanet)[:3])
