"""Panels for a Datanet's pages: what learnt from it, and what its rows have earned."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from datanets.selectors import datanet_for
from marketplace.selectors.lineage import lineage_of, row_earnings


@login_not_required
@require_GET
def datanet_lineage(request: HttpRequest, slug: str) -> HttpResponse:
    """For whoever may see the Datanet; of models, those that they may see."""
    datanet = datanet_for(request.user, slug)
    context = {"datanet": datanet, "lines": lineage_of(request.user, datanet)}
    return _panel(request, "marketplace/datanet_lineage.html", context)


@login_not_required
@require_GET
def datanet_earned(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = datanet_for(request.user, slug)
    context = {"datanet": datanet, "earned": row_earnings(request.user, datanet)}
    return _panel(request, "marketplace/datanet_earned.html", context)


def _panel(request: HttpRequest, template: str, context: dict[str, object]) -> HttpResponse:
    """The part alone for a page that asks for it; a whole page where a link was followed."""
    part = "#panel" if getattr(request, "htmx", False) else ""
    return render(request, template + part, context)
