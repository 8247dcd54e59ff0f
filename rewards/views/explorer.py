"""The network in public: sums, roots, contracts and what addresses were paid."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from rewards import selectors
from rewards.chain.artifacts import artifact
from rewards.selectors import explorer
from rewards.selectors.anchors import described, visible_anchors
from rewards.selectors.closings import closings, with_anchors
from rewards.services.chain import deployed_addresses

ROWS_A_PAGE = 25
NEWEST = 5


@login_not_required
@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """`?q=` goes straight to the page it names."""
    sought = request.GET.get("q", "").strip()
    if sought and (page := explorer.look_up(request.user, sought, deployed_addresses())):
        return redirect(page)
    anchors = list(visible_anchors(request.user)[:NEWEST])
    context = {
        "sought": sought,
        "network": explorer.network(),
        "epochs": selectors.epochs()[:NEWEST],
        "anchors": described(request.user, anchors),
    }
    return render(request, "rewards/explorer.html", context)


@login_not_required
@require_GET
def anchor_list(request: HttpRequest) -> HttpResponse:
    pages = Paginator(visible_anchors(request.user), ROWS_A_PAGE)
    page = pages.get_page(request.GET.get("page"))
    context = {"page": page, "anchors": described(request.user, list(page))}
    return render(request, "rewards/anchor_list.html", context)


@login_not_required
@require_GET
def closing_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(closings(), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "days": with_anchors(page)}
    return render(request, "rewards/closing_list.html", context)


@login_not_required
@require_GET
def contract_list(request: HttpRequest) -> HttpResponse:
    addresses = deployed_addresses()
    lines = explorer.contract_lines(addresses) if addresses else []
    context = {"contracts": lines, "source_hash": artifact("OpenToken").source_hash}
    return render(request, "rewards/contract_list.html", context)


@login_not_required
@require_GET
def address_detail(request: HttpRequest, address: str) -> HttpResponse:
    pay = explorer.address_pay(address)
    page = Paginator(pay.payouts, ROWS_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "rewards/address_detail.html", {"pay": pay, "page": page})
