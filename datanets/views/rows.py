"""The viewer: rows that one may read, searched, filtered and sorted by the address alone."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from datanets import selectors, services
from datanets.models import Datanet, Version
from datanets.viewer import (
    chosen_filters,
    histograms,
    kept_fields,
    known_total,
    may_filter_by,
    query_of,
)
from datanets.viewer_forms import RowFilterForm
from openledger_site.accounts.requests import signed_in_user


@login_not_required
@require_GET
def row_list(request: HttpRequest, slug: str) -> HttpResponse:
    return _viewer(request, selectors.datanet_for_reader(request.user, slug), None)


@login_not_required
@require_GET
def version_rows(request: HttpRequest, version_id: UUID) -> HttpResponse:
    version = selectors.version_for_reader(request.user, version_id)
    return _viewer(request, version.datanet, version)


def _viewer(request: HttpRequest, datanet: Datanet, version: Version | None) -> HttpResponse:
    reviews = selectors.rights_of(request.user, datanet).review
    form = RowFilterForm(request.GET)
    wanted = form.as_filter(labels=lambda label: may_filter_by(label, reviews=reviews))
    page = selectors.rows_page(datanet, wanted, version=version, **form.cursors())
    if page.rows:
        services.note_reading(reader=request.user, datanet=datanet)
    counts, left_out = (
        (selectors.counts_of_version(version), "")
        if version
        else selectors.counts_of_accepted(datanet)
    )
    context = {
        "datanet": datanet,
        "version": version,
        "page": page,
        "wanted": wanted,
        "form": form,
        "title": f"Rows of version {version.number}" if version else "Accepted rows",
        "query": query_of(wanted),
        "previous_query": query_of(wanted, before=page.previous),
        "next_query": query_of(wanted, after=page.next),
        "kept": kept_fields(wanted),
        "chosen": chosen_filters(wanted),
        "histograms": histograms(counts, wanted, reviews=reviews),
        "total": None if left_out else known_total(counts, wanted),
        "left_out": left_out,
        "path": _path(datanet, version),
        "versions": [] if version else datanet.versions.order_by("-number")[:1],
    }
    return render(request, "datanets/row_list.html", context)


def _path(datanet: Datanet, version: Version | None) -> str:
    if version is None:
        return reverse("datanets:row-list", args=[datanet.slug])
    return reverse("datanets:version-rows", args=[version.public_id])


@require_POST
def record_sample(request: HttpRequest, record_id: UUID) -> HttpResponse:
    """Mark a row as a sample, or take the mark away."""
    record = selectors.record_for_curator(request.user, record_id)
    wanted = request.POST.get("sample") == "yes"
    services.mark_sample(record=record, actor=signed_in_user(request), is_sample=wanted)
    messages.success(request, "Everybody sees it now." if wanted else "It is no sample any more.")
    return redirect(record)
